"""The lab's Jenkins: a part (`python -m lab.jenkins`), judged by recordings of a real one and by python-jenkins. See README.md beside this."""
