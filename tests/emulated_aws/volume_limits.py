"""What EC2 accepts as type, size, IOPS and throughput of a volume.

Limits from https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html.
"""

from dataclasses import dataclass

from moto.ec2.exceptions import EC2ClientError


@dataclass(frozen=True)
class VolumeType:
    """Sizes in GiB, throughput in MiB/s. Absent IOPS or throughput cannot be asked for."""

    size_gib: tuple[int, int]
    iops: tuple[int, int] | None = None
    iops_per_gib_max: int = 0
    iops_default: int | None = None
    throughput_mibps: tuple[int, int] | None = None
    throughput_default_mibps: int | None = None


TYPES = {
    "standard": VolumeType((1, 1024)),
    "gp2": VolumeType((1, 16384)),
    "gp3": VolumeType((1, 65536), (3000, 80000), 500, 3000, (125, 2000), 125),
    "io1": VolumeType((4, 16384), (100, 64000), 50),
    "io2": VolumeType((4, 65536), (100, 256000), 1000),
    "st1": VolumeType((125, 16384)),
    "sc1": VolumeType((125, 16384)),
}

# gp3: each MiB/s of throughput needs four IOPS.
THROUGHPUT_PER_IOPS_MAX = 0.25


def check(type_name: str, size: int, iops: int | None, throughput: int | None) -> None:
    """Refuse with EC2's codes what EC2 refuses."""
    if type_name not in TYPES:
        raise EC2ClientError(
            "UnknownVolumeType", f"Unsupported volume type '{type_name}' for volume creation."
        )
    volume_type = TYPES[type_name]
    _check_range("size", f"{size}GiB", size, volume_type.size_gib)
    _check_iops(type_name, volume_type, size, iops)
    _check_throughput(type_name, volume_type, iops or volume_type.iops_default, throughput)


def iops_of(type_name: str, size: int, asked: int | None) -> int | None:
    """What DescribeVolumes shows."""
    if type_name == "gp2":
        return min(max(100, 3 * size), 16000)
    return asked or TYPES[type_name].iops_default


def throughput_of(type_name: str, asked: int | None) -> int | None:
    return asked or TYPES[type_name].throughput_default_mibps


def _check_iops(type_name: str, volume_type: VolumeType, size: int, iops: int | None) -> None:
    if volume_type.iops is None:
        if iops is not None:
            raise _not_supported("iops", type_name)
        return
    if iops is None:
        if volume_type.iops_default is None:
            raise EC2ClientError("MissingParameter", "The request must contain the parameter iops")
        return
    _check_range("iops", str(iops), iops, volume_type.iops)
    # The default is granted at any size.
    if iops > (volume_type.iops_default or 0) and iops > volume_type.iops_per_gib_max * size:
        ratio, ratio_max = iops / size, volume_type.iops_per_gib_max
        raise _invalid(f"Iops to volume size ratio of {ratio:.6f} is too high; maximum is {ratio_max}")


def _check_throughput(
    type_name: str, volume_type: VolumeType, iops: int | None, throughput: int | None
) -> None:
    if throughput is None:
        return
    if volume_type.throughput_mibps is None:
        raise _not_supported("throughput", type_name)
    _check_range("throughput", f"{throughput}MiB/s", throughput, volume_type.throughput_mibps)
    ratio = throughput / (iops or 1)
    if ratio > THROUGHPUT_PER_IOPS_MAX:
        raise _invalid(
            f"Throughput (MiBps) to iops ratio of {ratio:.6f} is too high; "
            f"maximum is {THROUGHPUT_PER_IOPS_MAX} MiBps per iops"
        )


def _check_range(name: str, shown: str, value: int, limits: tuple[int, int]) -> None:
    low, high = limits
    if value < low:
        raise _invalid(f"Volume {name} of {shown} is too small; minimum is {low}.")
    if value > high:
        raise _invalid(f"Volume {name} of {shown} is too large; maximum is {high}.")


def _invalid(message: str) -> EC2ClientError:
    return EC2ClientError("InvalidParameterValue", message)


def _not_supported(parameter: str, type_name: str) -> EC2ClientError:
    message = f"The parameter {parameter} is not supported for {type_name} volumes."
    return EC2ClientError("InvalidParameterCombination", message)
