"""Manifests for tests."""

from stage_node.records.manifest import CodeVersion, MachineFacts, ManifestRecord


def a_manifest(**changed: object) -> ManifestRecord:
    """A manifest of a microVM with these fields changed."""
    manifest = ManifestRecord(
        name="synthetic",
        seed=1,
        host="microvm",
        started="2026-11-21T18:00:00+0000",
        command=("run", "synthetic.yaml"),
        code=CodeVersion(git_commit="0" * 40, git_dirty=False),
        outer_machine=MachineFacts(
            kernel="6.1.0", machine="x86_64", cpu_model="Some CPU", cpus=2, memory_mib=4096
        ),
    )
    return manifest.model_copy(update=changed)
