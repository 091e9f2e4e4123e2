"""Variables that a job sets in its processes: which names it may, and which values are secrets."""

import re
from collections.abc import Iterable, Mapping

from orchestrator.redaction.names import is_secret_name
from orchestrator.redaction.process import redact

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# They decide which code a process loads or starts, whom it believes, or belong to Ray and to us. No
# list of them is complete: it keeps mistakes and plain tricks out, and user code stays trusted.
_PREFIXES = (
    "LD_", "DYLD_", "PYTHON", "RAY_", "ORCHESTRATOR_", "PIP_", "UV_", "CONDA", "VIRTUAL_ENV",
    "GIT_", "BASH_", "OPENSSL_", "SSL_", "CUDA_INJECTION", "GLIBC_", "PERL", "RUBY", "NODE_",
    "JAVA_", "JDK_", "TRITON_", "TORCHINDUCTOR_", "TORCH_EXTENSIONS", "DOCKER_", "CONTAINER_",
)  # fmt: skip
_NAMES = frozenset({
    "PATH", "HOME", "SHELL", "ENV", "IFS", "CDPATH", "PS4", "PROMPT_COMMAND", "EDITOR", "PAGER",
    "GCONV_PATH", "LOCPATH", "NLSPATH", "HOSTALIASES", "RESOLV_HOST_CONF", "TMPDIR", "TMP", "TEMP",
    "USER", "LOGNAME", "PWD", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY",
    "ALL_PROXY", "FTP_PROXY", "NO_PROXY", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE",
    "KUBECONFIG", "CUDA_VISIBLE_DEVICES", "NCCL_CONF_FILE", "CC", "CXX",
})  # fmt: skip
_PLUGIN = re.compile(r"NCCL_\w*PLUGIN\w*")


def problem_of_name(name: str) -> str | None:
    """Why a job may not set a variable of this name; None where it may."""
    upper = name.upper()
    if not _NAME.fullmatch(name):
        return "wanted the name of a variable: letters, digits and underscores"
    if upper.startswith(_PREFIXES) or upper in _NAMES or _PLUGIN.fullmatch(upper):
        return (
            "a job may not set this variable: it decides which code is loaded, or belongs to Ray "
            "or to the cluster; set it where the cluster is started"
        )
    return None


def is_setting(value: str) -> bool:
    """Whether a value is a number, or yes or no, and therefore no secret by itself."""
    try:
        float(value)
    except ValueError:
        return value.lower() in {"true", "false"}
    return True


def open_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Those that everybody may read who may look at the cluster."""
    hidden = hidden_variables(variables)
    return {name: value for name, value in variables.items() if name not in hidden}


def hidden_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Those that hold secrets: by their name, or by what this process knows to be one."""
    return {
        name: value
        for name, value in variables.items()
        if (is_secret_name(name) and not is_setting(value)) or redact(value) != value
    }


def plain_secrets(variables: Iterable[tuple[str, str]]) -> list[str]:
    """The names that say they hold a secret, of values that a spec has as they are."""
    return [name for name, value in variables if is_secret_name(name) and not is_setting(value)]
