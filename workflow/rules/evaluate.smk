# A model -> samples, figures and a page about them.


rule generate:
    input:
        export=rules.export.output,
        prompts=manifests("generate"),
    output:
        f"{RUNS_DIR}/{{run}}/samples/samples.json",
    log:
        f"{RESULTS}/logs/generate/{{run}}.log",
    params:
        config=lambda wildcards: to_json(project_generate(RUNS[wildcards.run])),
        version=STAGES["generate"].version,
        export=f"{RUNS_DIR}/{{run}}/export",
        where=WHERE,
        out=f"{RUNS_DIR}/{{run}}/samples",
    threads: 4
    resources:
        mem_mb=8000,
        runtime=240,
    shell:
        "musicgen generate --config {params.config:q} --export {params.export:q} --prompts {input.prompts:q} "
        "--where {params.where:q} --out {params.out:q} 2>&1 | tee -i {log:q}"


rule evaluate:
    input:
        export=rules.export.output,
        manifests=manifests("train", "evaluate"),
        indexes=indexes,
        shards=buckets(TOKENS_DIR, ".tar"),
        audio=buckets(f"{RESULTS}/audio", ".tar"),
        samples=rules.generate.output,
    output:
        metrics=f"{RUNS_DIR}/{{run}}/metrics.json",
        references=f"{RUNS_DIR}/{{run}}/references/references.json",
    log:
        f"{RESULTS}/logs/evaluate/{{run}}.log",
    params:
        config=lambda wildcards: to_json(project_evaluate(RUNS[wildcards.run])),
        version=STAGES["evaluate"].version,
        export=f"{RUNS_DIR}/{{run}}/export",
        manifests=manifest_folders,
        samples=f"{RUNS_DIR}/{{run}}/samples",
        references=f"{RUNS_DIR}/{{run}}/references",
        where=WHERE,
    threads: 4
    resources:
        mem_mb=8000,
        runtime=240,
    shell:
        "musicgen evaluate --config {params.config:q} --export {params.export:q} --manifests {params.manifests:q} "
        "--indexes {input.indexes:q} --audio {input.audio:q} --samples {params.samples:q} --where {params.where:q} "
        "--out {output.metrics:q} --references {params.references:q} 2>&1 | tee -i {log:q}"


rule report_run:
    localrule: True
    input:
        done=f"{RUNS_DIR}/{{run}}/DONE",
        export=rules.export.output,
        samples=rules.generate.output,
        metrics=rules.evaluate.output,
        manifests=manifests("train", "valid", "evaluate", "rejected"),
        inventories=lambda wildcards: [
            f"{RESULTS}/plan/{corpus}/inventory.jsonl" for corpus in RUNS[wildcards.run].corpora
        ],
    output:
        report(f"{RUNS_DIR}/{{run}}/report.html", category="Runs", labels={"run": "{run}"}, caption="../report/run.rst"),
    log:
        f"{RESULTS}/logs/report/{{run}}.log",
    params:
        config=lambda wildcards: to_json(project_report(RUNS[wildcards.run])),
        version=STAGES["report"].version,
        manifests=manifest_folders,
        run_dir=f"{RUNS_DIR}/{{run}}",
    shell:
        "musicgen report --config {params.config:q} --run-dir {params.run_dir:q} --manifests {params.manifests:q} "
        "--inventories {input.inventories:q} --out {output:q} 2>&1 | tee -i {log:q}"
