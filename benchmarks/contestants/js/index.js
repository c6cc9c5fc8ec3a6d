// The functions of the HTTP benchmark on the JavaScript SDK and node's own server.
const http = require("http");
const {setTimeout: sleep} = require("timers/promises");
const {StateFun, messageBuilder} = require("apache-flink-statefun");

const statefun = new StateFun();
const names = [..."abcdefghij"].map((letter) => `s${letter}`);

function send(context, id, value) {
  context.send(messageBuilder({typename: "example/relay", id, value}));
}

statefun.bind({
  typename: "example/person",
  specs: [{name: "seen", type: StateFun.intType()}],
  fn(context, message) {
    const name = message.asString();
    context.storage.seen = (context.storage.seen || 0) + 1;
    send(context, name, `Hello ${name}, seen ${context.storage.seen} times`);
  },
});

statefun.bind({
  typename: "example/measure",
  fn(context, message) {
    send(context, context.self.id, String(message.asString().length));
  },
});

statefun.bind({
  typename: "example/keep",
  specs: names.map((name) => ({name, type: StateFun.stringType()})),
  fn(context, message) {
    const length = names.reduce((sum, name) => sum + context.storage[name].length, 0);
    context.storage.sa = context.storage.sb;
    send(context, message.asString(), String(length));
  },
});

statefun.bind({
  typename: "example/wait",
  async fn(context, message) {
    await sleep(50);
    send(context, message.asString(), message.asString());
  },
});

http.createServer(statefun.handler()).listen(Number(process.argv[2]), "127.0.0.1");
