"""Runs workloads as confined processes of this machine.

forkserver.py  the process that starts them (lean; ``notebooks.py`` is its child with Jupyter preloaded)
connection.py  its socket, and who may ask; shares.py  what a workload gets: accelerators, port, cgroup, cores, account
launch.py      what the forked child does: read the request, confine itself, become the program
isolate.py     confinement: namespaces, else Landlock, else none; built on rootfs, relay, landlock, syscalls
guard.py       pid 1 of every workload: reaps, watches memory, writes exit.json
records.py     the files below $DATA/run/workloads that outlive every process
client.py      asks the fork server; backend.py is the seam on top of it
"""
