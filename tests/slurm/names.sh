# Names that start.sh and stop.sh share. One such cluster at a time on a machine: these are fixed.
export PATH=$PATH:/usr/sbin:/sbin
home=${SLURM_TEST_HOME:-/run/musicgen-slurm}
export SLURM_CONF=$home/conf/slurm.conf
bridge=mgslurm0
prefix=mgslurm            # of network namespaces and interfaces: mgslurm-n1, mgslurm-n2
subnet=10.88.78
port=17817                # slurmctld; slurmd of n1 is 10 + 1 above
hosts_mark="# musicgen tests/slurm"
