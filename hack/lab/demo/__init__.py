"""`python -m lab demo`: the closed loop on one screen, judged at the end.

prepare -> (lab.serve as a child) -> apply the samples -> play -> report
watch: looks at every system, gives Snapshots     hops, summary, checks: pure     screen, plain: two ways to show it
"""
