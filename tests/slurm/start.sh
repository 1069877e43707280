#!/usr/bin/env bash
# Start a private, throw-away SLURM cluster of two nodes, n1 and n2, on this one machine (Debian 12, root, no systemd).
#
#   tests/slurm/start.sh && source /run/musicgen-slurm/env.sh     then sinfo, srun, snakemake --profile slurm, ...
#   tests/slurm/stop.sh                                           removes every trace of it
#
# Debian's packages are installed if they are missing (exit status 3: this machine cannot run it), and what a killed
# cluster left is cleared away first. State, logs and configuration lie in $SLURM_TEST_HOME (default /run/musicgen-slurm;
# unix sockets want a short path). SLURM_TEST_NET says how a node is told from the machine:
#   netns   own IP address, loopback and host name: `MASTER_ADDR=localhost` fails as on a real cluster
#   uts     own host name, one shared loopback (where no bridge may be made)
#   plain   nothing of its own (where no namespace may be made); /etc/hosts is edited until stop.sh
#   auto    the first of these that this machine allows (default)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/names.sh"
nodes=(n1 n2)
cpus=4 memory_mb=8000 gpus=2  # per node; more than the machine has is allowed (config_overrides)

die() { echo "tests/slurm/start.sh: $*" >&2; exit 1; }
cannot() { echo "$*" >&2; exit 3; }  # this machine is not one that it can run on

main() {
  [ "$(id -u)" = 0 ] || cannot "needs root"
  install_packages
  "$here/stop.sh"
  trap 'status=$?; trap - EXIT; [ $status = 0 ] || { show_logs; "$here/stop.sh" || true; }; exit $status' EXIT
  mkdir -p "$home"/{bin,conf,log,pid,spool,state}
  net=$(choose_net)
  write_hosts
  write_slurm_conf
  write_env
  start_munge
  case $net in netns) make_network ;; plain) edit_etc ;; esac
  slurmctld -i
  for node in "${nodes[@]}"; do start_node "$node"; done
  wait_until "two idle nodes" test_idle
  [ "$net" != netns ] || can_connect n1 n2 || die "n1 cannot reach n2 (a firewall on bridges?): try SLURM_TEST_NET=uts"
  echo "two nodes up ($net); source $home/env.sh"
}

install_packages() {
  local log packages="slurm-wlm munge iproute2"
  have_commands && return
  command -v apt-get >/dev/null || cannot "needs $packages, and there is no apt-get"
  log=$(mktemp)
  apt-get update -q >"$log" 2>&1 || true
  DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $packages >>"$log" 2>&1 || true
  have_commands || cannot "apt-get install $packages failed: $(grep -m1 '^E:' "$log" || tail -n 1 "$log")"
  rm -f "$log"
}

have_commands() {
  local command
  for command in slurmctld slurmd munged sbatch ip; do command -v $command >/dev/null || return; done
}

choose_net() {
  local asked=${SLURM_TEST_NET:-auto}
  if [ "$asked" != auto ]; then echo "$asked"
  elif ip link add "$bridge" type bridge 2>/dev/null && ip link del "$bridge" && unshare --uts --mount true 2>/dev/null
  then echo netns
  elif unshare --uts --mount true 2>/dev/null; then echo uts
  else echo plain; fi
}

address() { # of a node
  if [ "$net" = netns ]; then echo "$subnet.1${1#n}"; else echo 127.0.0.1; fi
}

write_hosts() {
  cp /etc/hosts "$home/conf/hosts"
  for node in "${nodes[@]}"; do echo "$(address "$node") $node $hosts_mark" >>"$home/conf/hosts"; done
}

write_slurm_conf() {
  local controller=127.0.0.1 host
  [ "$net" != netns ] || controller=$subnet.1
  {
    cat <<CONF
ClusterName=musicgen
SlurmctldHost=$(hostname -s)($controller)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
# A fresh start begins at another id, so that logs named after ids never mix.
FirstJobId=$((1 + $(date +%s) % 1000000))
AuthType=auth/munge
CredType=cred/munge
# cred_expire: a requeued job may start again only after this long (default 120 s).
AuthInfo=socket=$home/munge.socket,cred_expire=5
StateSaveLocation=$home/state
SlurmdSpoolDir=$home/spool/%n
SlurmctldPidFile=$home/pid/slurmctld.pid
SlurmdPidFile=$home/pid/slurmd.%n.pid
SlurmctldLogFile=$home/log/slurmctld.log
SlurmdLogFile=$home/log/slurmd.%n.log
MailProg=/bin/true
ReturnToService=2
# No cgroups: processes are found through /proc, memory limits are enforced by polling.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
DefMemPerCPU=500
SchedulerParameters=bf_interval=2,batch_sched_delay=0,sched_interval=5
# Finished jobs stay visible to squeue --states=all; there is no accounting database.
MinJobAge=3600
KillWait=5
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$home/log/jobcomp.txt
# A job in the partition urgent pushes one of debug out, which is told by its own signal and queued again.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
GresTypes=gpu
CONF
    for node in "${nodes[@]}"; do
      host=$node
      [ "$net" != plain ] || host=$(hostname -s)
      echo "NodeName=$node NodeHostname=$host NodeAddr=$(address "$node") Port=$((port + 10 + ${node#n}))" \
        "CPUs=$cpus RealMemory=$memory_mb Gres=gpu:$gpus"
    done
    echo "PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=1 GraceTime=20"
    echo "PartitionName=urgent Nodes=ALL MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF"
    echo "PartitionName=closed Nodes=ALL State=DOWN"  # jobs wait in it for ever
    echo "PartitionName=gpu Nodes=n2 MaxTime=04:00:00 PriorityTier=1 GraceTime=20"
  } >"$SLURM_CONF"
  # Pretend GPUs: SLURM counts and binds device files, and asks nothing of them.
  mkdir -p "$home/dev"
  for ((number = 0; number < gpus; number++)); do mknod "$home/dev/gpu$number" c 1 3; done
  echo "Name=gpu File=$home/dev/gpu[0-$((gpus - 1))]" >"$home/conf/gres.conf"
}

write_env() {
  install -m 755 "$here/sacct-shim" "$home/bin/sacct"
  echo "export SLURM_CONF=$SLURM_CONF PATH=$home/bin:\$PATH" >"$home/env.sh"
}

start_munge() { # own key and socket: a munged of the machine is left alone
  (umask 077 && dd if=/dev/urandom of="$home/munge.key" bs=128 count=1 status=none)
  munged --key-file="$home/munge.key" --socket="$home/munge.socket" --pid-file="$home/pid/munged.pid" \
    --log-file="$home/log/munged.log" --seed-file="$home/munge.seed"
}

make_network() { # one bridge; each node has an address behind it and no way out
  ip link add "$bridge" type bridge
  ip addr add "$subnet.1/24" dev "$bridge"
  ip link set "$bridge" up
  for node in "${nodes[@]}"; do
    ip netns add "$prefix-$node"
    ip link add "$prefix-$node" type veth peer name eth0 netns "$prefix-$node"
    ip link set "$prefix-$node" master "$bridge" up
    ip -n "$prefix-$node" link set lo up
    ip -n "$prefix-$node" addr add "$(address "$node")/24" dev eth0
    ip -n "$prefix-$node" link set eth0 up
  done
}

edit_etc() {
  mkdir -p /etc/slurm
  [ -L /etc/slurm/slurm.conf ] || [ ! -e /etc/slurm/slurm.conf ] || die "/etc/slurm/slurm.conf is another cluster's"
  cat "$home/conf/hosts" >/etc/hosts
  ln -sf "$SLURM_CONF" /etc/slurm/slurm.conf
}

start_node() {
  # Snakemake's jobstep drops SLURM_CONF, so the default place must hold this configuration on a node.
  local inside="hostname $1; mount --bind $home/conf/hosts /etc/hosts; mkdir -p /etc/slurm
    mount --bind $home/conf /etc/slurm; exec slurmd -N $1"
  mkdir -p "$home/spool/$1"
  case $net in
    netns) nsenter --net="/run/netns/$prefix-$1" unshare --uts --mount bash -ec "$inside" ;;
    uts) unshare --uts --mount bash -ec "$inside" ;;
    plain) slurmd -N "$1" ;;
  esac
}

test_idle() { [ "$(timeout 2 sinfo -h -p debug -t idle -o %D)" = ${#nodes[@]} ]; }

can_connect() { # from one node to the other's slurmd
  nsenter --net="/run/netns/$prefix-$1" timeout 5 bash -c ": </dev/tcp/$(address "$2")/$((port + 10 + ${2#n}))"
}

wait_until() { # what, test
  local end=$((SECONDS + 20))
  while [ $SECONDS -lt $end ]; do
    "$2" 2>/dev/null && return
    pgrep -F "$home/pid/slurmctld.pid" slurmctld >/dev/null 2>&1 || [ $SECONDS -lt $((end - 18)) ] || die "slurmctld ended"
    sleep 0.1
  done
  die "no $1 within 20 s"
}

show_logs() { grep -hE 'fatal|error' "$home"/log/*.log | grep -v -i pmi | tail -n 10 >&2 || true; }

main
