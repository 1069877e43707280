# Tokens and words -> a model. The run's folder is no declared output, so Snakemake never deletes a checkpoint; only the
# marker DONE is. Where and on how many processes it runs comes from resources, which never make a run stale.


rule train_run:
    localrule: True
    input:
        # Data count by content, not by time: the signature in the folder's name covers them. They must be there.
        manifests=ancient(manifests("train", "valid")),
        tracks=ancient(manifests("train", "valid", ending=".tracks")),
        indexes=ancient(indexes),
        shards=ancient(buckets(TOKENS_DIR, ".tar")),
        audio=ancient(heard(buckets(f"{RESULTS}/audio", ".tar"))),
        lists=ancient(heard(lists("audio"))),
        parents=ancient(lambda wildcards: [f"{RUNS_DIR}/{run}/DONE" for run in FLOW.planned[wildcards.run].parents]),
        stage=f"{PLAN_DIR}/stages/train/{{run}}.json",
    output:
        f"{RUNS_DIR}/{{run}}/DONE",
    log:
        f"{RESULTS}/logs/train/{{run}}.log",
    params:
        config=lambda wildcards: CONFIGS["train", wildcards.run],
        version=STAGES["train"].version,
        digest=lambda wildcards: FLOW.planned[wildcards.run].signature,
        manifests=manifest_folders,
        audio=audio_flag,
        run_dir=f"{RUNS_DIR}/{{run}}",
        upkeep=f"{PLAN_DIR}/upkeep.json",  # what it holds makes nothing stale, so it is no input
        continues=lambda wildcards: FLOW.planned[wildcards.run].continues or "",
        extends=lambda wildcards: FLOW.planned[wildcards.run].extends or "",
        starts=lambda wildcards: FLOW.planned[wildcards.run].starts or "",
        start_digest=lambda wildcards: FLOW.planned[wildcards.run].start_digest or "",
    threads: 16
    resources:
        launcher="none",
        nodes=1,
        processes_per_node=1,
        gpus_per_node=0,
        cpus_per_process=lambda wildcards, threads: threads,
        memory_mb=8000,
        runtime_min=1440,
        partition="",
        account="",
    shell:
        "musicgen train --config {params.config:q} --manifests {params.manifests:q} --indexes {input.indexes:q} "
        "{params.audio:q} --run-dir {params.run_dir:q} --upkeep {params.upkeep:q} --continue-from={params.continues:q} "
        "--extend-from={params.extends:q} --init-from={params.starts:q} --init-digest={params.start_digest:q} "
        "--launcher {resources.launcher} --nodes {resources.nodes} "
        "--processes-per-node {resources.processes_per_node} --gpus-per-node {resources.gpus_per_node} "
        "--cpus-per-process {resources.cpus_per_process} --memory-mb {resources.memory_mb} "
        "--runtime-min {resources.runtime_min} --partition={resources.partition:q} --account={resources.account:q} "
        "2>&1 | tee -i {log:q}"


rule export:
    input:
        done=f"{RUNS_DIR}/{{run}}/DONE",
        manifests=ancient(manifests("train")),  # by the signature, as for training
        stage=f"{PLAN_DIR}/stages/export.json",
    output:
        f"{RUNS_DIR}/{{run}}/export/config.json",
        f"{RUNS_DIR}/{{run}}/export/model.safetensors",
    log:
        f"{RESULTS}/logs/export/{{run}}.log",
    params:
        config=lambda wildcards: CONFIGS["export", ""],
        version=STAGES["export"].version,
        manifests=manifest_folders,
        run_dir=f"{RUNS_DIR}/{{run}}",
        where=WHERE,
        out=f"{RUNS_DIR}/{{run}}/export",
    resources:
        mem_mb=8000,
        runtime=60,
    shell:
        "musicgen export --config {params.config:q} --run-dir {params.run_dir:q} --manifests {params.manifests:q} "
        "--where {params.where:q} --out {params.out:q} 2>&1 | tee -i {log:q}"
