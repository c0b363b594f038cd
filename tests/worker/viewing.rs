//! `view_image`.

use std::{fs, io::Cursor, os::unix::fs::symlink};

use base64::{Engine, engine::general_purpose::STANDARD};
use image::{ImageFormat, RgbImage};
use portcullis::worker::{Encoding, ErrorKind, Reply, Request, serve};

use crate::{make_fifo, refused, tree};

fn view(path: &str) -> Request {
    Request::ViewImage { path: path.to_owned() }
}

fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(width, height, image::Rgb([200, 30, 60])).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn an_image_is_known_by_its_content_and_scaled_to_what_a_model_looks_at() {
    let dir = tree(&[]);
    fs::write(dir.path().join("small.txt"), picture(64, 48, ImageFormat::WebP)).unwrap();
    fs::write(dir.path().join("photo"), picture(2000, 1500, ImageFormat::Jpeg)).unwrap();
    symlink("photo", dir.path().join("link.png")).unwrap();
    for (path, original, shown, encoding) in [
        ("small.txt", (64, 48), (64, 48), Encoding::Png),
        ("photo", (2000, 1500), (1024, 768), Encoding::Jpeg),
        ("link.png", (2000, 1500), (1024, 768), Encoding::Jpeg),
    ] {
        let Reply::Image(seen) = serve(&view(path), dir.path()) else { panic!("{path}") };
        assert_eq!((seen.original_width, seen.original_height), original, "{path}");
        assert_eq!((seen.width, seen.height, seen.encoding), (shown.0, shown.1, encoding), "{path}");
        let decoded = image::load_from_memory(&STANDARD.decode(&seen.base64).unwrap()).unwrap().to_rgb8();
        assert_eq!((decoded.width(), decoded.height()), shown, "{path}");
        let [red, green, blue] = decoded.get_pixel(shown.0 / 2, shown.1 / 2).0;
        assert!(red.abs_diff(200) < 6 && green.abs_diff(30) < 6 && blue.abs_diff(60) < 6, "{path}: {red} {green} {blue}");
        let reply = Reply::Image(seen);
        assert_eq!(serde_json::from_str::<Reply>(&serde_json::to_string(&reply).unwrap()).unwrap(), reply);
    }
}

#[test]
fn what_is_no_image_to_show_is_refused_with_the_reason() {
    let dir = tree(&[("text.png", "not an image\n"), ("empty.png", ""), ("vector.svg", "<svg/>"), ("sub/x", "")]);
    let whole = picture(64, 48, ImageFormat::Png);
    fs::write(dir.path().join("cut.png"), &whole[..whole.len() / 2]).unwrap();
    fs::write(dir.path().join("bitmap.png"), b"BM\x1e\0\0\0\0\0\0\0\x1a\0\0\0\x0c\0\0\0\x01\0\x01\0\x01\0\x18\0\0\0\0\0").unwrap();
    fs::File::create(dir.path().join("large.png")).unwrap().set_len(20 * 1024 * 1024 + 1).unwrap();
    make_fifo(&dir.path().join("fifo.png"));
    symlink("nowhere", dir.path().join("dangling.png")).unwrap();
    for (path, kind, part) in [
        ("text.png", ErrorKind::WrongKind, "no PNG, JPEG, GIF or WebP"),
        ("empty.png", ErrorKind::WrongKind, "no PNG, JPEG, GIF or WebP"),
        ("vector.svg", ErrorKind::WrongKind, "no PNG, JPEG, GIF or WebP"),
        ("bitmap.png", ErrorKind::WrongKind, "no PNG, JPEG, GIF or WebP"),
        ("cut.png", ErrorKind::Invalid, "cannot be decoded"),
        ("large.png", ErrorKind::TooLarge, "over the limit of 20971520 bytes"),
        ("fifo.png", ErrorKind::WrongKind, "this is a FIFO"),
        ("sub", ErrorKind::WrongKind, "this is a directory"),
        ("/dev/zero", ErrorKind::WrongKind, "this is a device"),
        ("dangling.png", ErrorKind::NotFound, "no such file"),
        ("~/x.png", ErrorKind::Invalid, "use an absolute path"),
        ("", ErrorKind::Invalid, "empty"),
    ] {
        let (found, message) = refused(&dir, &view(path));
        assert!(found == kind && message.contains(part), "{path:?}: {found:?} {message}");
    }
}
