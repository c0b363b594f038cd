//! Images: the pixels reach the model, and nothing else of a file does.

use std::{fs, io::Cursor, os::unix::fs::symlink};

use base64::{Engine, engine::general_purpose::STANDARD};
use image::{ImageFormat, RgbImage};
use portcullis::model::scripted::ScriptItem;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::approver::elsewhere;
use super::support::{Played, World, call, finish, one, shell, start};

/// Stands in the metadata of a photograph.
const PLACE: &str = "50.1109N-8.6821E-c20ad4d7";

fn view(path: &str) -> ScriptItem {
    call("view_image", json!({ "path": path }))
}

/// An image of one colour, by which it can be told from another.
fn picture(width: u32, height: u32, color: [u8; 3], format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(width, height, image::Rgb(color)).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn png(color: [u8; 3]) -> Vec<u8> {
    picture(64, 48, color, ImageFormat::Png)
}

/// A JPEG whose metadata names a place.
fn photograph() -> Vec<u8> {
    let jpeg = picture(64, 48, RED, ImageFormat::Jpeg);
    let exif = [b"Exif\0\0MM\0\x2a\0\0\0\x08\0\0\0\0\0\0", PLACE.as_bytes()].concat();
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

/// A PNG of a few bytes that claims 30 000 × 30 000 pixels.
fn bomb() -> Vec<u8> {
    let mut file = png(RED);
    file[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
    let sum = !file[12..29].iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 })
    });
    file[29..33].copy_from_slice(&sum.to_be_bytes());
    file
}

const RED: [u8; 3] = [255, 0, 0];
const BLUE: [u8; 3] = [0, 0, 255];

/// The encoded images in the last request, in order.
fn images(played: &Played) -> Vec<Vec<u8>> {
    let body: Value = serde_json::from_slice(&played.requests.last().unwrap().body).unwrap();
    let mut found = Vec::new();
    for item in body["input"].as_array().unwrap() {
        for part in item["content"].as_array().into_iter().chain(item["output"].as_array()).flatten() {
            if part["type"] == "input_image" {
                let url = part["image_url"].as_str().unwrap();
                let (head, base64) = url.split_once(',').unwrap();
                assert!(["data:image/png;base64", "data:image/jpeg;base64"].contains(&head), "{head}");
                found.push(STANDARD.decode(base64).unwrap());
            }
        }
    }
    found
}

/// The size of an encoded image and the colour in its middle.
fn seen(bytes: &[u8]) -> (u32, u32, [u8; 3]) {
    let image = image::load_from_memory(bytes).unwrap().to_rgb8();
    (image.width(), image.height(), image.get_pixel(image.width() / 2, image.height() / 2).0)
}

#[test]
fn an_image_reaches_the_model_and_neither_the_screen_nor_the_log() {
    let world = World::new();
    world.write("ws/art/red.png", png(RED));
    let played = world.play([one(view("art/red.png"))]).well();
    let images = images(&played);
    assert_eq!(images.len(), 1);
    assert_eq!(seen(&images[0]), (64, 48, RED));
    assert_eq!(played.output(), "art/red.png, 64×48");
    let body: Value = serde_json::from_slice(&played.requests[1].body).unwrap();
    let output = &body["input"].as_array().unwrap().last().unwrap()["output"];
    assert_eq!(output[0], json!({"type": "input_text", "text": "art/red.png, 64×48"}));
    assert_eq!(output.as_array().unwrap().len(), 2);
    // Everywhere else it is a line of text, and in the log also a digest.
    let start_of_base64 = &STANDARD.encode(&images[0])[..40];
    assert!(played.bodies()[1].contains(start_of_base64) && !played.ended.stdout.contains(start_of_base64));
    let finished = played.ended.events_of("call.finished");
    assert_eq!((finished.len(), &finished[0]["output"]), (1, &json!("art/red.png, 64×48")));
    assert!(!fs::read_to_string(&world.logs()[0]).unwrap().contains(start_of_base64));
    let outcome = world.records().into_iter().find(|record| record["event"] == "call_outcome").unwrap();
    let digest: String = Sha256::digest(&images[0]).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(outcome["image"], json!({"sha256": digest, "bytes": images[0].len(), "width": 64, "height": 48}), "{outcome}");
    assert!(outcome["applied"]["landlock_abi"].as_u64().unwrap() > 0, "it was decoded outside of a sandbox: {outcome}");
}

#[test]
fn a_denied_image_does_not_reach_the_model_and_the_one_beside_it_does() {
    let world = World::new();
    world.write("ws/plan.png", png(RED));
    world.write("ws/plan.private.png", png(BLUE));
    let place = elsewhere();
    let outside = place.path().join("own.png").display().to_string();
    fs::write(&outside, png(BLUE)).unwrap();
    world.write("home/.ssh/key.png", png(BLUE));
    symlink(&outside, world.path("ws/link.png")).unwrap();
    symlink("plan.png", world.path("ws/inner.png")).unwrap();
    let policy = world.policy("[filesystem]\ndeny = [\"**/*.private.png\"]\n");
    let paths = ["plan.png", "plan.private.png", &outside, "link.png", "../home/.ssh/key.png", "inner.png"];
    let played = world.play_with(&["--policy", &policy], paths.map(|path| one(view(path)))).well();
    let images = images(&played);
    assert_eq!(images.iter().map(|image| seen(image)).collect::<Vec<_>>(), [(64, 48, RED), (64, 48, RED)]);
    let outputs = played.outputs();
    for place in 1..5 {
        assert!(outputs[place].starts_with("Error: "), "{}: {}", paths[place], outputs[place]);
    }
    for place in [1, 2, 4] {
        assert!(outputs[place].contains("[portcullis] refused: read ") && outputs[place].contains(".toml:"), "{}", outputs[place]);
    }
}

#[test]
fn a_hostile_file_is_refused_with_the_reason() {
    let world = World::new();
    world.write("ws/bomb.png", bomb());
    let whole = png(RED);
    world.write("ws/cut.png", &whole[..whole.len() / 2]);
    world.write("ws/text.png", "PASSWORD=hunter2-1679091c\n");
    assert!(bomb().len() < 1000);
    let turns = ["bomb.png", "cut.png", "text.png"].map(|path| one(view(path)));
    let played = world.play(turns).well();
    let outputs = played.outputs();
    assert!(outputs[0].contains("30000×30000") && outputs[0].contains("megapixels"), "{}", outputs[0]);
    assert!(outputs[1].contains("cannot be decoded"), "{}", outputs[1]);
    assert!(outputs[2].contains("no PNG, JPEG, GIF or WebP"), "{}", outputs[2]);
    assert!(images(&played).is_empty() && !played.bodies().concat().contains("hunter2"));
}

#[test]
fn the_metadata_of_a_photograph_stays_behind() {
    let world = World::new();
    let file = world.write("ws/photo.jpg", photograph());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(text(&fs::read(&file).unwrap()).contains(PLACE));
    let played = world.play_with(&["-i", file.to_str().unwrap()], [one(view("photo.jpg"))]).well();
    let images = images(&played);
    assert_eq!(images.len(), 2);
    for image in &images {
        assert!(!text(image).contains(PLACE) && !text(image).contains("Exif"));
        let (width, height, [red, green, blue]) = seen(image);
        assert!((width, height) == (64, 48) && red > 245 && green < 10 && blue < 10, "{red} {green} {blue}");
    }
}

#[test]
fn images_beside_the_prompt_arrive_in_order_and_are_on_record() {
    let world = World::new();
    world.write("ws/sketch.png", png(RED));
    let kept = world.write("home/pictures/other.png", png(BLUE)).display().to_string();
    let policy = world.policy("[filesystem]\nread = [\"~/pictures\"]\n");
    let played = world.play_with(&["--policy", &policy, "--image", "sketch.png", "-i", &kept], [one(shell("true"))]).well();
    assert_eq!(images(&played).iter().map(|image| seen(image)).collect::<Vec<_>>(), [(64, 48, RED), (64, 48, BLUE)]);
    let body: Value = serde_json::from_slice(&played.requests[0].body).unwrap();
    let said = body["input"].as_array().unwrap().last().unwrap();
    let expected = format!("Do it.\n\n[image 1: sketch.png, 64×48]\n[image 2: {kept}, 64×48]");
    assert_eq!((said["role"].as_str(), said["content"][0]["text"].as_str()), (Some("user"), Some(expected.as_str())));
    let records = world.records();
    let intents: Vec<&Value> = records.iter().filter(|record| record["tool"] == "view_image").collect();
    assert_eq!(intents.len(), 2);
    assert!(intents.iter().all(|intent| intent["decided_by"] == "person" && intent["event"] == "call_intent"), "{intents:?}");
    assert_eq!(records.iter().filter(|record| record["image"]["sha256"].is_string()).count(), 2);
}

#[test]
fn an_image_beside_the_prompt_that_the_policy_keeps_away_ends_the_run_before_anything_is_sent() {
    let world = World::new();
    let place = elsewhere();
    let outside = place.path().join("own.png").display().to_string();
    fs::write(&outside, png(BLUE)).unwrap();
    let private = world.write("home/pictures/own.png", png(BLUE)).display().to_string();
    let denied = world.write("home/.ssh/key.png", png(BLUE)).display().to_string();
    world.write("ws/text.png", "no image");
    let grant = format!("add \"{outside}\" to read under [filesystem]");
    for (path, parts) in [
        (outside.as_str(), ["not in view", grant.as_str()]),
        (&private, ["a folder of its own", "add \"~/pictures/own.png\" to read under [filesystem]"]),
        (&denied, ["~/.ssh/key.png", "@credentials"]),
        ("text.png", ["text.png", "no PNG, JPEG, GIF or WebP"]),
        ("nowhere.png", ["nowhere.png", "no such file"]),
    ] {
        let model = start([]);
        let ended = finish(world.exec(&model, &["-i", path]).arg("Do it."));
        assert_eq!(ended.code(), Some(2), "{ended:#?}");
        let complaint = ended.complaint();
        assert!(complaint.contains("the image is not sent") && parts.iter().all(|part| complaint.contains(part)), "{complaint}");
        assert!(model.requests().is_empty());
    }
}
