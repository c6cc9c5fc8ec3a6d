// The greeter on the JavaScript SDK and node's own server; prints the port that it got.
const http = require("http");
const {StateFun, kafkaEgressMessage, messageBuilder} = require("apache-flink-statefun");

const statefun = new StateFun();

statefun.bind({
  typename: "example/greeter",
  specs: [{name: "seen", type: StateFun.intType()}],
  fn(context, message) {
    const name = message.asString();
    context.storage.seen = (context.storage.seen || 0) + 1;
    const value = `Hello ${name}, seen ${context.storage.seen} times`;
    context.send(messageBuilder({typename: "example/relay", id: name, value}));
  },
});

statefun.bind({
  typename: "example/relay",
  fn(context, message) {
    context.send(
      kafkaEgressMessage({
        typename: "example/greets",
        topic: "greetings",
        key: context.self.id,
        value: message.asString(),
      }),
    );
  },
});

const server = http.createServer(statefun.handler());
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
