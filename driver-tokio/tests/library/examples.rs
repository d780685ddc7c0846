//! The examples, run as programs: each really downloads, and what it leaves is compared.

use super::bench::*;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// Where the examples are, built as they stand.
fn examples() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
        let profile = deps.parent().unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--examples", "--package", "driver-tokio"]);
        build.args(profile.ends_with("release").then_some("--release"));
        assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success(), "the examples build");
        profile.join("examples")
    })
}

async fn run(name: &str, args: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (out, err) = (dir.path().join("out"), dir.path().join("err"));
    let mut command = Command::new(examples().join(name));
    command.args(args).stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
    let mut child = command.spawn().unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    let ended = ended.await;
    let _ = child.kill();
    assert!(ended.is_ok_and(|status| status.success()), "{name}: {}", std::fs::read_to_string(err).unwrap());
    std::fs::read(out).unwrap()
}

/// A seeder, and a folder with the torrent file.
async fn stage(sample: &Sample) -> (Seeder, tempfile::TempDir, String, String) {
    let (seeder, dir) = (seeder(sample).await, tempfile::tempdir().unwrap());
    let file = dir.path().join("a.torrent");
    std::fs::write(&file, &sample.torrent).unwrap();
    let (file, peer) = (file.to_str().unwrap().to_owned(), seeder.addr.to_string());
    (seeder, dir, file, peer)
}

#[tokio::test(flavor = "multi_thread")]
async fn download_downloads() {
    let sample = Sample::usual("download");
    let (seeder, dir, file, peer) = stage(&sample).await;
    let into = dir.path().join("into");
    let output = run("download", &[&file, into.to_str().unwrap(), &peer]).await;
    assert_eq!(String::from_utf8_lossy(&output), "download is complete\n");
    sample.assert_below(&into);
    seeder.session.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embed_downloads_several() {
    let (one, two) = (Sample::usual("embed"), Sample::new("other", &[("x", 300_000)]));
    let (seeder, dir, file, peer) = stage(&one).await;
    let (second, other_dir, other_file, other_peer) = stage(&two).await;
    let into = dir.path().join("into");
    let output = run("embed", &[into.to_str().unwrap(), &file, &other_file, &peer, &other_peer]).await;
    one.assert_below(&into);
    two.assert_below(&into);
    let said = String::from_utf8_lossy(&output);
    for line in [
        "embed: 0 pieces were there\n",
        "embed: file embed/deep/er/b is complete\n",
        "embed: complete\n",
        "other: complete\n",
    ] {
        assert!(said.contains(line), "{said}");
    }
    drop(other_dir);
    seeder.session.shutdown().await;
    second.session.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_writes_the_largest_file_to_its_output() {
    let sample = Sample::usual("stream");
    let (seeder, dir, file, peer) = stage(&sample).await;
    let output = run("stream", &[&file, dir.path().join("into").to_str().unwrap(), &peer]).await;
    assert!(output == sample.file(1));
    seeder.session.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_storage_leaves_chunks() {
    let sample = Sample::usual("chunks");
    let (seeder, dir, file, peer) = stage(&sample).await;
    let root = dir.path().join("root");
    for _ in 0..2 {
        // The second run finds everything there, and needs nobody.
        run("custom_storage", &[&file, root.to_str().unwrap(), &peer]).await;
        for (index, path, bytes) in sample.files() {
            let folder = root.join(sample.metainfo.info_hash.to_hex()).join(index.0.to_string());
            let chunks = (0..bytes.len().div_ceil(1 << 20)).map(|n| std::fs::read(folder.join(n.to_string())).unwrap());
            assert!(chunks.collect::<Vec<_>>().concat() == bytes, "{path}");
        }
        seeder.session.shutdown().await;
    }
}
