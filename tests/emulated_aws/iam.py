"""IAM where moto differs from AWS: encoded documents, conflicts, trust policies."""

from datetime import datetime
from typing import Any

from moto.core.serialize import never_return, url_encode
from moto.iam.exceptions import DeleteConflictException
from moto.iam.models import IAMBackend, iam_backends
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


def _checking_trust(moto_create_role: Any) -> Any:
    # The parameters are called as in moto, which also passes them by name.
    def create_role(
        self: IAMBackend, role_name: str, assume_role_policy_document: Any, *args: Any, **kwargs: Any
    ) -> Any:
        # CloudFormation hands over what is parsed already.
        if isinstance(assume_role_policy_document, str):
            IAMTrustPolicyDocumentValidator(assume_role_policy_document).validate()
        return moto_create_role(self, role_name, assume_role_policy_document, *args, **kwargs)

    return create_role


def _refusing_conflicts(moto_delete_policy: Any) -> Any:
    def delete_policy(self: IAMBackend, policy_arn: str) -> None:
        policy = self.get_policy(policy_arn)
        if policy.attachment_count:
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
    wrap(IAMBackend, "create_role", _checking_trust)
    wrap(IAMBackend, "delete_policy", _refusing_conflicts)
