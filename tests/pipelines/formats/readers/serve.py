"""Answers requests, lines of JSON, by the function ``read`` of a program; runs in a reader's environment."""

import importlib.util
import json
import os
import sys
import traceback


def main() -> None:
    spec = importlib.util.spec_from_file_location("program", sys.argv[1])
    program = importlib.util.module_from_spec(spec)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not stand between the answers
    spec.loader.exec_module(program)
    for line in sys.stdin:
        try:
            answer = {"answer": program.read(**json.loads(line))}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


main()
