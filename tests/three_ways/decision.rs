//! What the function says by which policies are explained.

use portcullis::{
    policy::{NetworkMode, Place},
    tools::explain::{Asked, Question, Word},
};

use crate::{
    table::{Network, Operation, Verdict},
    world::Scene,
};

pub fn decides(scene: &Scene, operation: &Operation) -> Verdict {
    let asked = Asked::new(&scene.policy, &scene.session, "/usr/bin:/bin", &scene.session.workspace);
    let says = |question: &Question| asked.answer(question).word == Word::Allow;
    let reads = |place: &String| says(&Question::Read(scene.path(place).display().to_string()));
    let writes = |place: &String| says(&Question::Write(scene.path(place).display().to_string()));
    let mode = scene.policy.network.mode;
    Verdict::of(match operation {
        Operation::Read(place) | Operation::Run(place) => reads(place),
        Operation::Write(place) | Operation::Create(place) | Operation::Mkdir(place) | Operation::Delete(place) => writes(place),
        Operation::Rename([from, to]) => writes(from) && writes(to),
        Operation::Link([from, to]) => reads(from) && writes(to),
        Operation::Network(Network::Own) => says(&Question::Host("localhost:8080".to_owned())),
        Operation::Network(Network::Machine) => mode == NetworkMode::Open,
        Operation::Network(Network::Proxy) => mode == NetworkMode::Allowlist,
        Operation::Socket(place) => scene.policy.network.sockets.iter().any(|rule| rule.place == Place::Absolute(scene.path(place))),
    })
}
