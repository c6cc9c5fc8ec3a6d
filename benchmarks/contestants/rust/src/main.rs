//! The functions of the HTTP benchmark on the Rust SDK and its transport (hyper).
use std::thread::sleep;
use std::time::Duration;

use statefun::transport::Transport;
use statefun::{
    specs, Address, Context, Effects, Expiration, FunctionRegistry, FunctionType,
    HyperHttpTransport, Message, ValueSpec,
};

const STATES: [&str; 10] = ["sa", "sb", "sc", "sd", "se", "sf", "sg", "sh", "si", "sj"];

fn seen() -> ValueSpec<i32> {
    ValueSpec::new("seen", Expiration::never())
}

fn state(name: &'static str) -> ValueSpec<String> {
    ValueSpec::new(name, Expiration::never())
}

fn send(effects: &mut Effects, id: &str, text: String) {
    let address = Address::new(FunctionType::new("example", "relay"), id);
    effects.send(address, &text).unwrap();
}

fn person(context: Context, message: Message) -> Effects {
    let name = message.get::<String>().unwrap();
    let count = context.get_state(seen()).map_or(0, |value| value.unwrap()) + 1;
    let mut effects = Effects::new();
    effects.update_state(seen(), &count).unwrap();
    send(&mut effects, &name, format!("Hello {}, seen {} times", name, count));
    effects
}

fn measure(context: Context, message: Message) -> Effects {
    let text = message.get::<String>().unwrap();
    let mut effects = Effects::new();
    // Its addresses show their id only as text: "example/measure/bob".
    let address = format!("{}", context.self_address());
    let id = address.rsplit('/').next().unwrap();
    send(&mut effects, id, text.len().to_string());
    effects
}

fn keep(context: Context, message: Message) -> Effects {
    let values: Vec<String> =
        STATES.iter().map(|name| context.get_state(state(name)).unwrap().unwrap()).collect();
    let length: usize = values.iter().map(String::len).sum();
    let mut effects = Effects::new();
    effects.update_state(state("sa"), &values[1]).unwrap();
    send(&mut effects, &message.get::<String>().unwrap(), length.to_string());
    effects
}

/// It has no asynchronous functions, and one lock around all calls.
fn wait(_: Context, message: Message) -> Effects {
    sleep(Duration::from_millis(50));
    let name = message.get::<String>().unwrap();
    let mut effects = Effects::new();
    send(&mut effects, &name, name.clone());
    effects
}

fn main() {
    let mut registry = FunctionRegistry::new();
    registry.register_fn(FunctionType::new("example", "person"), specs![seen()], person);
    registry.register_fn(FunctionType::new("example", "measure"), specs![], measure);
    let states = STATES.iter().map(|name| state(name).into()).collect();
    registry.register_fn(FunctionType::new("example", "keep"), states, keep);
    registry.register_fn(FunctionType::new("example", "wait"), specs![], wait);

    let port = std::env::args().nth(1).unwrap();
    let address = format!("127.0.0.1:{}", port).parse().unwrap();
    HyperHttpTransport::new(address).run(registry).unwrap();
}
