//! What EC2 takes of a volume's type and performance, checked before anything is made: one refused
//! volume among five made ones helps nobody.
//!
//! Source: Amazon EBS user guide, "Amazon EBS volume types" and "Provisioned IOPS SSD volumes"; EC2 API
//! reference, `CreateVolume`. Since April 2025 every io2 volume is a Block Express one, with 1,000 IOPS a
//! GiB.

use std::ops::RangeInclusive;

use etcd_backup_core::diagnostic::Diagnostic;
use etcd_backup_core::ids::MemberKey;
use etcd_backup_core::volume::Performance;

/// What a volume type takes.
struct Limits {
    volume_type: &'static str,
    /// `None` where the type takes none. The least is taken at any size.
    iops: Option<RangeInclusive<i32>>,
    iops_required: bool,
    /// What a volume takes beyond the least, for each GiB that it has.
    iops_per_gib: i32,
    throughput: Option<RangeInclusive<i32>>,
}

/// The types that etcd runs on; HDD types begin at 125 GiB and are far too slow.
const TYPES: [Limits; 5] = [
    limits("gp3", Some(3_000..=80_000), false, 500, Some(125..=2_000)),
    limits("gp2", None, false, 0, None),
    limits("io1", Some(100..=64_000), true, 50, None),
    limits("io2", Some(100..=256_000), true, 1_000, None),
    limits("standard", None, false, 0, None),
];
/// What a gp3 volume has that asks for none.
const GP3_IOPS_BASE: i32 = 3_000;
/// Of gp3: IOPS needed for each MiB/s.
const IOPS_PER_THROUGHPUT: i32 = 4;

const fn limits(
    volume_type: &'static str,
    iops: Option<RangeInclusive<i32>>,
    iops_required: bool,
    iops_per_gib: i32,
    throughput: Option<RangeInclusive<i32>>,
) -> Limits {
    Limits {
        volume_type,
        iops,
        iops_required,
        iops_per_gib,
        throughput,
    }
}

/// Refuses what EC2 would refuse of what was asked for. What the old volume has already is never refused:
/// this table ages, and EC2 knows better.
///
/// # Errors
///
/// `InvalidEvent`, saying what is accepted.
pub fn check(
    key: &MemberKey,
    performance: &Performance,
    size_gib: i32,
    old: Option<&Performance>,
) -> Result<(), Diagnostic> {
    if old == Some(performance) {
        return Ok(());
    }
    let name = &performance.volume_type;
    let Some(limits) = TYPES.iter().find(|limits| limits.volume_type == name) else {
        let known: Vec<&str> = TYPES.iter().map(|limits| limits.volume_type).collect();
        return Err(Diagnostic::invalid_event(format!(
            "\"volume\" asks for type {name} for {key}; etcd's are {}",
            known.join(", ")
        )));
    };
    let wrong = [
        iops_wrong(limits, performance, size_gib),
        out_of(
            "throughput",
            performance.throughput,
            limits.throughput.as_ref(),
        ),
        too_little_iops(performance),
    ];
    match wrong.into_iter().flatten().next() {
        Some(wrong) => Err(Diagnostic::invalid_event(format!(
            "a {name} volume of {size_gib} GiB for {key} {wrong}: correct it with \"volume\""
        ))),
        None => Ok(()),
    }
}

fn iops_wrong(limits: &Limits, performance: &Performance, size_gib: i32) -> Option<String> {
    let Some(iops) = performance.iops else {
        return limits.iops_required.then(|| "needs \"iops\"".to_owned());
    };
    let range = limits.iops.as_ref().map(|range| {
        let of_size = limits.iops_per_gib.saturating_mul(size_gib);
        *range.start()..=of_size.clamp(*range.start(), *range.end())
    });
    out_of("iops", Some(iops), range.as_ref())
}

fn out_of(what: &str, figure: Option<i32>, range: Option<&RangeInclusive<i32>>) -> Option<String> {
    match (figure, range) {
        (Some(_), None) => Some(format!("takes no {what}")),
        (Some(figure), Some(range)) if !range.contains(&figure) => Some(format!(
            "takes {} to {} of {what}, not {figure}",
            range.start(),
            range.end()
        )),
        _ => None,
    }
}

fn too_little_iops(performance: &Performance) -> Option<String> {
    let throughput = performance.throughput?;
    let iops = performance.iops.unwrap_or(GP3_IOPS_BASE);
    let needed = throughput.saturating_mul(IOPS_PER_THROUGHPUT);
    (needed > iops)
        .then(|| format!("needs at least {needed} iops for a throughput of {throughput}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(
        volume_type: &str,
        iops: Option<i32>,
        throughput: Option<i32>,
    ) -> Result<(), String> {
        let performance = Performance {
            volume_type: volume_type.to_owned(),
            iops,
            throughput,
        };
        let key = "main/a".parse().unwrap();
        check(&key, &performance, 20, None).map_err(|error| error.message)
    }

    #[test]
    fn what_ec2_takes_is_taken() {
        for (volume_type, iops, throughput) in [
            ("gp3", None, None),
            ("gp3", Some(3_000), Some(125)),
            ("gp3", Some(10_000), Some(1_000)),
            ("gp2", None, None),
            ("gp3", Some(10_000), None),
            ("io1", Some(100), None),
            ("io1", Some(1_000), None),
            ("io2", Some(3_000), None),
            ("io2", Some(20_000), None),
        ] {
            assert_eq!(
                checked(volume_type, iops, throughput),
                Ok(()),
                "{volume_type} {iops:?}"
            );
        }
    }

    #[test]
    fn what_ec2_refuses_is_refused_with_what_it_takes() {
        let refusal =
            |volume_type, iops, throughput| checked(volume_type, iops, throughput).unwrap_err();
        insta::assert_snapshot!(refusal("banana", None, None), @r#""volume" asks for type banana for main/a; etcd's are gp3, gp2, io1, io2, standard"#);
        insta::assert_snapshot!(refusal("io2", None, None), @r#"a io2 volume of 20 GiB for main/a needs "iops": correct it with "volume""#);
        insta::assert_snapshot!(refusal("gp2", Some(3_000), None), @r#"a gp2 volume of 20 GiB for main/a takes no iops: correct it with "volume""#);
        insta::assert_snapshot!(refusal("gp3", Some(1), None), @r#"a gp3 volume of 20 GiB for main/a takes 3000 to 10000 of iops, not 1: correct it with "volume""#);
        insta::assert_snapshot!(refusal("gp3", Some(16_000), None), @r#"a gp3 volume of 20 GiB for main/a takes 3000 to 10000 of iops, not 16000: correct it with "volume""#);
        insta::assert_snapshot!(refusal("io1", Some(3_000), None), @r#"a io1 volume of 20 GiB for main/a takes 100 to 1000 of iops, not 3000: correct it with "volume""#);
        insta::assert_snapshot!(refusal("io1", Some(100_000), None), @r#"a io1 volume of 20 GiB for main/a takes 100 to 1000 of iops, not 100000: correct it with "volume""#);
        insta::assert_snapshot!(refusal("io2", Some(20_001), None), @r#"a io2 volume of 20 GiB for main/a takes 100 to 20000 of iops, not 20001: correct it with "volume""#);
        insta::assert_snapshot!(refusal("gp3", Some(3_000), Some(1_000)), @r#"a gp3 volume of 20 GiB for main/a needs at least 4000 iops for a throughput of 1000: correct it with "volume""#);
        insta::assert_snapshot!(refusal("io1", Some(1_000), Some(125)), @r#"a io1 volume of 20 GiB for main/a takes no throughput: correct it with "volume""#);
    }

    /// What is accepted grows with the size up to what the type takes at all, and a tiny gp3 volume still
    /// has its baseline.
    #[test]
    fn a_size_takes_as_much_as_its_type_gives_it() {
        for (volume_type, size_gib, least, most) in [
            ("gp3", 1, 3_000, 3_000),
            ("gp3", 6, 3_000, 3_000),
            ("gp3", 7, 3_000, 3_500),
            ("gp3", 1_000, 3_000, 80_000),
            ("io1", 4, 100, 200),
            ("io1", 60, 100, 3_000),
            ("io1", 16_384, 100, 64_000),
            ("io2", 4, 100, 4_000),
            ("io2", 65_536, 100, 256_000),
        ] {
            let is_taken = |iops: i32| {
                let performance = Performance {
                    volume_type: volume_type.to_owned(),
                    iops: Some(iops),
                    throughput: None,
                };
                check(&"main/a".parse().unwrap(), &performance, size_gib, None).is_ok()
            };
            let taken = [least - 1, least, most, most + 1].map(is_taken);
            assert_eq!(
                taken,
                [false, true, true, false],
                "{volume_type} {size_gib}"
            );
        }
    }

    #[test]
    fn what_the_old_volume_has_is_never_refused() {
        let newer_than_this_table = Performance {
            volume_type: "gp4".to_owned(),
            iops: Some(1_000_000),
            throughput: None,
        };
        let key = "main/a".parse().unwrap();
        assert!(check(&key, &newer_than_this_table, 20, None).is_err());
        let old = newer_than_this_table.clone();
        assert!(check(&key, &newer_than_this_table, 20, Some(&old)).is_ok());
    }
}
