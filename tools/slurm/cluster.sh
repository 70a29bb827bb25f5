#!/usr/bin/env bash
# A Slurm of one machine, for tests, as root:
#
#   tools/slurm/cluster.sh start FOLDER     # its files and logs go there
#   tools/slurm/cluster.sh stop FOLDER
#
# prints the variable with which sbatch and squeue find it. Needs the Debian packages slurm-wlm and
# munge. The node says that it has eight CPUs, whatever it has; a job of the partition `urgent` takes
# the place of one in `main`, which is requeued; requeued jobs wait for seconds, not for two minutes.
set -euo pipefail

folder=$(realpath -m "$2")
case $1 in
  start)
    mkdir -p "$folder/state" "$folder/spool"
    host=$(hostname -s)
    dd if=/dev/urandom of="$folder/munge.key" bs=1024 count=1 status=none
    chmod 400 "$folder/munge.key"
    cat >"$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=3
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=1,sched_interval=1,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
MinJobAge=300
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
NodeName=$host NodeAddr=127.0.0.1 CPUs=8 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=$host MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
CONF
    export SLURM_CONF=$folder/slurm.conf
    munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
      --pid-file="$folder/munged.pid" --seed-file="$folder/munge.seed" \
      --log-file="$folder/munged.log"
    slurmctld -c
    slurmd
    for _ in $(seq 60); do
      [[ $(sinfo -h -o %T 2>/dev/null | sort -u) == idle ]] && break
      sleep 1
    done
    [[ $(sinfo -h -o %T | sort -u) == idle ]] || { tail -5 "$folder"/slurm*.log >&2; exit 1; }
    echo "export SLURM_CONF=$SLURM_CONF"
    ;;
  stop)
    for daemon in slurmd slurmctld munged; do
      [[ ! -e $folder/$daemon.pid ]] || kill "$(cat "$folder/$daemon.pid")" || true
    done
    ;;
esac
