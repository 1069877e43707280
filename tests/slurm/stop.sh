#!/usr/bin/env bash
# Stop the cluster of start.sh and remove its processes, namespaces, bridge and files. May be repeated.
# Only a process that carries this cluster's SLURM_CONF is touched. Fails, and says what, if anything is left.
set -uo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/names.sh"

main() {
  cancel_jobs
  end_processes TERM
  for _ in $(seq 50); do [ -z "$(our_processes)" ] && break; sleep 0.1; done
  end_processes KILL
  for _ in $(seq 50); do [ -z "$(our_processes)" ] && break; sleep 0.1; done
  remove_network
  restore_etc
  rm -rf "$home"
  local left
  left=$(our_processes; ip -o link 2>/dev/null | grep -o "$prefix[-n0-9]*"; ip netns list 2>/dev/null | grep "^$prefix-")
  [ -z "$left" ] || { echo "tests/slurm/stop.sh: still there:" $left >&2; exit 1; }
}

our_processes() { # daemons, job steps and jobs: their environment names our configuration; zombies are gone already
  local process
  for process in /proc/[0-9]*; do
    process=${process#/proc/}
    [ "$process" != $$ ] && grep -qsz "^SLURM_CONF=$SLURM_CONF$" "/proc/$process/environ" || continue
    case $(cat "/proc/$process/comm" 2>/dev/null) in slurmctld | slurmd | slurmstepd | munged) echo "$process" ;;
      *) grep -qsz "^SLURM_JOB_ID=" "/proc/$process/environ" && echo "$process" ;; esac
  done
}

end_processes() { # signal
  local processes
  processes=$(our_processes)
  [ -z "$processes" ] || kill -s "$1" $processes 2>/dev/null
}

cancel_jobs() { # before slurmd ends: job steps would outlive it
  pgrep -F "$home/pid/slurmctld.pid" slurmctld >/dev/null 2>&1 || return
  local jobs
  jobs=$(timeout 5 squeue -h -o %A 2>/dev/null | sort -u)
  [ -n "$jobs" ] || return
  timeout 5 scancel $jobs
  timeout 5 scancel --full --signal=KILL $jobs 2>/dev/null
  for _ in $(seq 50); do [ -z "$(timeout 5 squeue -h 2>/dev/null)" ] && break; sleep 0.1; done
}

remove_network() {
  command -v ip >/dev/null || return
  local name
  for name in $(ip netns list 2>/dev/null | grep -o "^$prefix-n[0-9]*"); do
    kill -KILL $(ip netns pids "$name") 2>/dev/null
    ip netns del "$name"
  done
  for name in $(ip -o link | grep -o "$prefix-n[0-9]*" | sort -u); do ip link del "$name" 2>/dev/null; done
  ! ip link show "$bridge" >/dev/null 2>&1 || ip link del "$bridge"
}

restore_etc() { # what `plain` changed
  [ "$(readlink /etc/slurm/slurm.conf)" != "$SLURM_CONF" ] || rm -f /etc/slurm/slurm.conf
  if grep -qs "$hosts_mark\$" /etc/hosts; then
    local kept
    kept=$(grep -v "$hosts_mark\$" /etc/hosts)
    printf '%s\n' "$kept" >/etc/hosts
  fi
}

main
