"""What the figures were measured on."""
import os
import re
import subprocess


def describe():
    fields = {}
    for line in subprocess.run(["lscpu"], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}).stdout.splitlines():
        key, _, value = line.partition(":")
        fields[key.strip()] = value.strip()
    number = lambda key: int(re.sub(r"\D.*", "", fields.get(key, "1")) or 1)
    return {"model": fields.get("Model name", "unknown"), "family": fields.get("CPU family", ""), "model_number": fields.get("Model", ""),
            "cores": number("Core(s) per socket") * number("Socket(s)"), "threads": len(os.sched_getaffinity(0)),
            "cache": fields.get("L3 cache", fields.get("L2 cache", "unknown"))}


def name(machine):
    return f"{machine['model']} (family {machine['family']}, model {machine['model_number']}), {machine['cores']} cores, {machine['threads']} threads"


def slug(machine):
    words = re.sub(r"[^a-z0-9]+", "-", machine["model"].lower()).strip("-")
    return f"{words}-{machine['family']}-{machine['model_number']}-{machine['threads']}-threads"
