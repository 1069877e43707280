# Music -> prepared audio, and the manifest of who is in which split.


rule resample:
    input:
        bucket=f"{PLAN_DIR}/{{corpus}}/buckets/{{bucket}}.txt",
        stage=f"{PLAN_DIR}/stages/resample.json",
    output:
        tar=f"{RESULTS}/audio/{{corpus}}/{{bucket}}.tar",
        jsonl=f"{RESULTS}/audio/{{corpus}}/{{bucket}}.jsonl",
    log:
        f"{RESULTS}/logs/resample/{{corpus}}/{{bucket}}.log",
    params:
        config=lambda wildcards: CONFIGS["resample", ""],
        version=STAGES["resample"].version,
        digest=lambda wildcards: PLAN.corpora[wildcards.corpus].buckets[wildcards.bucket],
        where=WHERE,
        locations=f"{PLAN_DIR}/{{corpus}}/locations/{{bucket}}.json",
    resources:
        mem_mb=2000,
        runtime=120,
    shell:
        "musicgen resample --config {params.config:q} --bucket {input.bucket:q} --digest {params.digest} "
        "--where {params.where:q} --locations {params.locations:q} "
        "--out-tar {output.tar:q} --out-jsonl {output.jsonl:q} 2>&1 | tee -i {log:q}"


rule manifest:
    localrule: True
    input:
        # Words by their digest: of a file above 1 MB (max-checksum-file-size) Snakemake knows the time alone.
        words=f"{PLAN_DIR}/{{corpus}}/words.digest",
        list=f"{PLAN_DIR}/{{corpus}}/lists/prepared.txt",
        stage=f"{PLAN_DIR}/stages/manifest/{{corpus}}.json",
        audio=buckets(f"{RESULTS}/audio", ".jsonl"),
    output:
        expand(
            "{results}/manifest/{{corpus}}/{name}.jsonl",
            results=RESULTS,
            name=["train", "valid", "evaluate", "generate", "rejected"],
        ),
        expand("{results}/manifest/{{corpus}}/{split}.tracks", results=RESULTS, split=["train", "valid", "evaluate"]),
    log:
        f"{RESULTS}/logs/manifest/{{corpus}}.log",
    params:
        config=lambda wildcards: CONFIGS["manifest", wildcards.corpus],
        version=STAGES["manifest"].version,
        digest=lambda wildcards: PLAN.corpora[wildcards.corpus].metadata_digest,
        metadata=f"{PLAN_DIR}/{{corpus}}/metadata.jsonl",
        out=f"{RESULTS}/manifest/{{corpus}}",
    shell:
        "musicgen manifest --config {params.config:q} --metadata {params.metadata:q} --digest {params.digest} "
        "--audio @{input.list:q} --out {params.out:q} 2>&1 | tee -i {log:q}"
