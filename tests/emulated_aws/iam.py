"""IAM where moto differs from AWS: encoded documents, conflicts, trust policies, boundaries."""

from datetime import datetime
from typing import Any

from moto.core.serialize import never_return, url_encode
from moto.iam.exceptions import DeleteConflictException, NotFoundException
from moto.iam.models import IAMBackend, ManagedPolicy, iam_backends
from moto.iam.policy_validation import IAMTrustPolicyDocumentValidator
from moto.iam.responses import IamResponse
from moto.utilities.utils import get_partition

from .patching import PatchTargetMissing, wrap

# AWS gives documents URL-encoded, and a version's only where it is asked for by itself.
_TRANSFORMERS = {
    "GetPolicyVersionResponse.PolicyVersion.Document": url_encode,
    "CreatePolicyVersionResponse.PolicyVersion.Document": never_return,
    "ListPolicyVersionsResponse.Versions.PolicyVersion.Document": never_return,
    "ListRolesResponse.Roles.Role.AssumeRolePolicyDocument": url_encode,
}


def role_by_arn(account_id: str, region: str, role_arn: str) -> Any | None:
    """The role, or None."""
    roles = iam_backends[account_id][get_partition(region)].roles.values()
    return next((role for role in roles if role.arn == role_arn), None)


def role_age_seconds(role: Any, now: datetime) -> float:
    return (now - role.create_date).total_seconds()


def _checking_trust_and_boundary(moto_create_role: Any) -> Any:
    # The parameters are called as in moto, which also passes them by name.
    def create_role(
        self: IAMBackend,
        role_name: str,
        assume_role_policy_document: Any,
        path: str,
        permissions_boundary: str | None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        # CloudFormation hands over what is parsed already.
        if isinstance(assume_role_policy_document, str):
            IAMTrustPolicyDocumentValidator(assume_role_policy_document).validate()
        _check_boundary(self, permissions_boundary)
        return moto_create_role(
            self, role_name, assume_role_policy_document, path, permissions_boundary, *args, **kwargs
        )

    return create_role


def _checking_boundary(moto_put_boundary: Any) -> Any:
    def put_role_permissions_boundary(self: IAMBackend, role_name: str, permissions_boundary: str) -> None:
        _check_boundary(self, permissions_boundary)
        moto_put_boundary(self, role_name, permissions_boundary)

    return put_role_permissions_boundary


def _check_boundary(backend: IAMBackend, policy_arn: str | None) -> None:
    if not policy_arn:
        return
    try:
        backend.get_policy(policy_arn)
    except NotFoundException:
        raise NotFoundException(
            f"Scope ARN: {policy_arn} does not exist or is not attachable."
        ) from None


def _roles_bounded_by(policy: ManagedPolicy) -> int:
    roles = policy.backend.roles.values()
    return sum(role.permissions_boundary_arn == policy.arn for role in roles)


def _refusing_conflicts(moto_delete_policy: Any) -> Any:
    def delete_policy(self: IAMBackend, policy_arn: str) -> None:
        policy = self.get_policy(policy_arn)
        if policy.attachment_count or _roles_bounded_by(policy):
            raise DeleteConflictException("Cannot delete a policy attached to entities.")
        if len(policy.versions) > 1:
            raise DeleteConflictException("This policy has more than one version: delete the others first.")
        moto_delete_policy(self, policy_arn)

    return delete_policy


def install() -> None:
    transformers = IamResponse.RESPONSE_KEY_PATH_TO_TRANSFORMER
    if "GetRoleResponse.Role.AssumeRolePolicyDocument" not in transformers:
        raise PatchTargetMissing("moto's IAM no longer encodes documents by these paths")
    transformers.update(_TRANSFORMERS)
    wrap(IAMBackend, "create_role", _checking_trust_and_boundary)
    wrap(IAMBackend, "put_role_permissions_boundary", _checking_boundary)
    ManagedPolicy.permissions_boundary_usage_count = property(_roles_bounded_by)
    wrap(IAMBackend, "delete_policy", _refusing_conflicts)
