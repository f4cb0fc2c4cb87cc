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
    threads = "" if machine["threads"] == machine["cores"] else f", {machine['threads']} threads"
    return f"{machine['model']} (family {machine['family']}, model {machine['model_number']}), {machine['cores']} cores{threads}"


def slug(machine):
    return re.sub(r"[^a-z0-9]+", "-", f"{machine['model']} {machine['family']} {machine['model_number']} {machine['threads']} threads".lower()).strip("-")
