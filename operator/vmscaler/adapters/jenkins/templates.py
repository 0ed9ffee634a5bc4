"""The two files that a job is made from: `job-template.xml` and `Jenkinsfile.autoscale`.

Called by bootstrap at the start. They live in `jenkins/` of the repository, outside of the package, since people read and install that
folder (the step client is in it). The setting VMSCALER_JENKINS_DIR names it; without one it is looked for where a checkout and where an
installation has it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import vmscaler
from vmscaler.decide.job import JobTemplates

JOB_TEMPLATE = "job-template.xml"
PIPELINE_TEMPLATE = "Jenkinsfile.autoscale"


def default_folder() -> Path:
    """`jenkins/` of the checkout that the package is in, else `share/vmscaler/jenkins` of the installation. It need not exist."""
    checkout = Path(vmscaler.__file__).resolve().parents[2] / "jenkins"
    return checkout if (checkout / JOB_TEMPLATE).is_file() else Path(sys.prefix) / "share" / "vmscaler" / "jenkins"


def load_templates(folder: Path | None = None) -> JobTemplates:
    """Read both. Raises FileNotFoundError that says which setting names the folder."""
    folder = folder or default_folder()
    texts = []
    for name in (JOB_TEMPLATE, PIPELINE_TEMPLATE):
        try:
            texts.append((folder / name).read_text(encoding="utf-8"))
        except OSError as error:
            raise FileNotFoundError(
                f"{folder / name}: {error.strerror}; set VMSCALER_JENKINS_DIR to the folder `jenkins` of the vmscaler repository"
            ) from None
    return JobTemplates(*texts)
