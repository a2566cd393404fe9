//! Judges the members of an etcd cluster by the images of their volumes, or by mounted ones.
//!
//! `judge main a=a.img b=b.img c=/mnt/c` prints what a verification would answer.

use std::process::ExitCode;

use etcd_reader::judge::judge_set;
use etcd_reader::member::{MemberContext, read, read_volume};

#[path = "../tests/reader/support/directory.rs"]
mod directory;

#[path = "../tests/reader/support/image.rs"]
mod image;

use directory::Directory;
use image::Image;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(etcd_cluster) = arguments.next() else {
        eprintln!("usage: judge ETCD-CLUSTER MEMBER=IMAGE…");
        return ExitCode::FAILURE;
    };
    let mut members = Vec::new();
    for argument in arguments {
        let Some((member, path)) = argument.split_once('=') else {
            eprintln!("{argument}: expected MEMBER=IMAGE");
            return ExitCode::FAILURE;
        };
        let context = MemberContext {
            etcd_cluster: etcd_cluster.clone(),
            member: member.to_owned(),
            ..MemberContext::default()
        };
        if std::path::Path::new(path).is_dir() {
            members.push(read(&Directory::new(path), &context));
            continue;
        }
        match Image::open(path) {
            Ok(image) => members.push(read_volume(image, &context)),
            Err(error) => {
                eprintln!("{path}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    match serde_json::to_string_pretty(&judge_set(&members)) {
        Ok(report) => println!("{report}"),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
