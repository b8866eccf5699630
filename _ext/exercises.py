"""Number the exercises of each chapter from 1; Sphinx numbers them through the whole book."""


def from_one(app, env) -> list[str]:
    for kinds in env.toc_fignumbers.values():
        exercises = kinds.get("exercise", {})
        exercises.update({label: (number,) for number, label in enumerate(exercises, 1)})
    return []


def setup(app) -> dict:
    app.connect("env-get-updated", from_one, priority=900)  # after Sphinx has numbered
    return {"parallel_read_safe": True, "parallel_write_safe": True}
