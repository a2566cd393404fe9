"""The paths of Lifecycle Manager, where moto looks for them."""

from .responses import LifecycleManagerResponse

url_bases = [r"https?://dlm\.(.+)\.amazonaws\.com"]

url_paths = {
    "{0}/policies$": LifecycleManagerResponse.dispatch,
    "{0}/policies/(?P<policy_id>[^/]+)$": LifecycleManagerResponse.dispatch,
    "{0}/tags/(?P<resource_arn>.+)$": LifecycleManagerResponse.dispatch,
}
