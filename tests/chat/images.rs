//! Images beside a prompt.

use std::{fs, path::Path};

use image::RgbImage;
use portcullis::model::scripted::Turn;
use serde_json::{Value, json};

use crate::driven::{Driven, Setting};

fn picture(path: &Path) {
    RgbImage::from_pixel(8, 6, image::Rgb([255, 0, 0])).save_with_format(path, image::ImageFormat::Png).unwrap();
}

/// The text of what was said last, and how many images go with it.
fn said(session: &Driven) -> (String, usize) {
    let body: Value = serde_json::from_slice(&session.requests().last().unwrap().body).unwrap();
    let content = body["input"].as_array().unwrap().last().unwrap()["content"].as_array().unwrap().clone();
    (content[0]["text"].as_str().unwrap().to_owned(), content.iter().filter(|part| part["type"] == "input_image").count())
}

#[test]
fn images_go_along_with_one_prompt_and_come_back_with_the_session() {
    let setting = Setting::new().with(&["-i", "first.png"]);
    picture(&setting.host.workspace.join("first.png"));
    picture(&setting.host.workspace.join("second one.png"));
    fs::create_dir_all(setting.host.home.join(".ssh")).unwrap();
    picture(&setting.host.home.join(".ssh/key.png"));
    let turns = ["One.", "Two.", "Three.", "Four."].map(Turn::message);
    let denied = setting.host.home.join(".ssh/key.png").display().to_string();
    let Some(session) = setting.begin("images_go_along", turns) else { return };
    session.wait("first.png, 8×6 goes along with your next prompt.");
    session.line("what is this?");
    session.turn("One.");
    assert_eq!(said(&session), ("what is this?\n\n[image 1: first.png, 8×6]".to_owned(), 1));
    session.line("/image second one.png");
    session.wait("second one.png, 8×6 goes along with your next prompt.");
    session.line(&format!("/image {denied}"));
    session.wait("The image is not sent:");
    session.line("and this?");
    session.turn("Two.");
    assert_eq!(said(&session), ("and this?\n\n[image 1: second one.png, 8×6]".to_owned(), 1));
    session.line("thank you");
    session.turn("Three.");
    assert_eq!(said(&session), ("thank you".to_owned(), 0));
    let decided: Vec<Value> = session.events("call_intent").iter().map(|record| record["decided_by"].clone()).collect();
    assert_eq!(decided, vec![json!("person"); 3]);
    session.keys(&["C-d"]);
    assert_eq!(session.ended(), 0);
    session.run(&["resume", "--last"]);
    session.wait("an earlier one goes on");
    session.line("still there?");
    session.turn("Four.");
    let bodies: Vec<Vec<u8>> = session.requests().into_iter().map(|request| request.body).collect();
    assert!(bodies[3].starts_with(&bodies[2][..bodies[2].len() - 2]));
}
