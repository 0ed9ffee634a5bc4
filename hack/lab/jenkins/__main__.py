"""`python -m lab.jenkins --config FILE`."""

from lab.jenkins.server import main
from lab.process import serve_part

if __name__ == "__main__":
    serve_part(main)
