# A model -> samples, figures and a page about them. Music and words count by content: by the signature in the name of the
# run's folder, and recordings by a file with their digests.


rule generate:
    input:
        export=rules.export.output,
        prompts=ancient(manifests("generate")),
        audio=ancient(heard(buckets(f"{RESULTS}/audio", ".tar"))),
        lists=ancient(heard(lists("audio"))),
        recordings=recordings,
        stage=f"{PLAN_DIR}/stages/generate/{{run}}.json",
    output:
        report(
            f"{RUNS_DIR}/{{run}}/samples/samples.json",
            category="Samples",
            labels={"run": "{run}"},
            caption="../report/samples.rst",
        ),
    log:
        f"{RESULTS}/logs/generate/{{run}}.log",
    params:
        config=lambda wildcards: CONFIGS["generate", wildcards.run],
        version=STAGES["generate"].version,
        export=f"{RUNS_DIR}/{{run}}/export",
        where=WHERE,
        out=f"{RUNS_DIR}/{{run}}/samples",
        audio=audio_flag,
    threads: 4
    resources:
        mem_mb=8000,
        runtime=240,
    shell:
        "musicgen generate --config {params.config:q} --export {params.export:q} --prompts {input.prompts:q} "
        "{params.audio:q} --where {params.where:q} --out {params.out:q} 2>&1 | tee -i {log:q}"


rule evaluate:
    input:
        export=rules.export.output,
        manifests=ancient(manifests("train", "evaluate")),
        indexes=ancient(indexes),
        shards=ancient(buckets(TOKENS_DIR, ".tar")),
        audio=ancient(buckets(f"{RESULTS}/audio", ".tar")),
        samples=rules.generate.output,
        lists=ancient(lists("audio")),
        stage=f"{PLAN_DIR}/stages/evaluate/{{run}}.json",
    output:
        metrics=report(
            f"{RUNS_DIR}/{{run}}/metrics.json",
            category="Figures",
            labels={"run": "{run}"},
            caption="../report/metrics.rst",
        ),
        references=f"{RUNS_DIR}/{{run}}/references/references.json",
    log:
        f"{RESULTS}/logs/evaluate/{{run}}.log",
    params:
        config=lambda wildcards: CONFIGS["evaluate", wildcards.run],
        version=STAGES["evaluate"].version,
        export=f"{RUNS_DIR}/{{run}}/export",
        manifests=manifest_folders,
        samples=f"{RUNS_DIR}/{{run}}/samples",
        lists=lambda wildcards, input: [f"@{path}" for path in input.lists],
        references=f"{RUNS_DIR}/{{run}}/references",
        where=WHERE,
    threads: 4
    resources:
        mem_mb=8000,
        runtime=240,
    shell:
        "musicgen evaluate --config {params.config:q} --export {params.export:q} --manifests {params.manifests:q} "
        "--indexes {input.indexes:q} --audio {params.lists:q} --samples {params.samples:q} --where {params.where:q} "
        "--out {output.metrics:q} --references {params.references:q} 2>&1 | tee -i {log:q}"


rule report_run:
    localrule: True
    input:
        done=f"{RUNS_DIR}/{{run}}/DONE",
        export=rules.export.output,
        samples=rules.generate.output,
        metrics=rules.evaluate.output,
        manifests=ancient(manifests("train", "valid", "evaluate", "rejected")),
        rejected=lambda wildcards: [f"{PLAN_DIR}/{corpus}/rejected.digest" for corpus in RUNS[wildcards.run].corpora],
        stage=f"{PLAN_DIR}/stages/report.json",
    output:
        report(f"{RUNS_DIR}/{{run}}/report.html", category="Runs", labels={"run": "{run}"}, caption="../report/run.rst"),
    log:
        f"{RESULTS}/logs/report/{{run}}.log",
    params:
        config=lambda wildcards: CONFIGS["report", ""],
        version=STAGES["report"].version,
        manifests=manifest_folders,
        rejected=lambda wildcards: [f"{PLAN_DIR}/{corpus}/rejected.jsonl" for corpus in RUNS[wildcards.run].corpora],
        run_dir=f"{RUNS_DIR}/{{run}}",
    shell:
        "musicgen report --config {params.config:q} --run-dir {params.run_dir:q} --manifests {params.manifests:q} "
        "--inventories {params.rejected:q} --out {output:q} 2>&1 | tee -i {log:q}"
