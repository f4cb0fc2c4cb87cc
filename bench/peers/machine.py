"""What the figures were measured on."""
import os
import re
import subprocess


def describe():
    fields = {}
    done = subprocess.run(["lscpu"], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    for line in done.stdout.splitlines():
        key, _, value = line.partition(":")
        fields[key.strip()] = value.strip()
    number = lambda key: int(re.sub(r"\D.*", "", fields.get(key, "1")) or 1)
    return {
        "model": fields.get("Model name", "unknown"),
        "family": fields.get("CPU family", ""),
        "model_number": fields.get("Model", ""),
        "cores": number("Core(s) per socket") * number("Socket(s)"),
        "threads": len(os.sched_getaffinity(0)),
        "cache": fields.get("L3 cache", fields.get("L2 cache", "unknown")),
    }


def name(machine):
    threads = "" if machine["threads"] == machine["cores"] else f", {machine['threads']} threads"
    number = f"family {machine['family']}, model {machine['model_number']}"
    return f"{machine['model']} ({number}), {machine['cores']} cores{threads}"


def file_name(words):
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def slug(machine):
    return file_name(f"{machine['model']} {machine['family']} {machine['model_number']} {machine['threads']} threads")
