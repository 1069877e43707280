# Music -> prepared audio, and the manifest of who is in which split.


rule resample:
    input:
        bucket=f"{RESULTS}/plan/{{corpus}}/buckets/{{bucket}}.txt",
    output:
        tar=f"{RESULTS}/audio/{{corpus}}/{{bucket}}.tar",
        jsonl=f"{RESULTS}/audio/{{corpus}}/{{bucket}}.jsonl",
    log:
        f"{RESULTS}/logs/resample/{{corpus}}/{{bucket}}.log",
    params:
        config=lambda wildcards: to_json(project_resample(ROOT, CODEC)),
        version=STAGES["resample"].version,
        digest=lambda wildcards: PLAN.corpora[wildcards.corpus].buckets[wildcards.bucket],
        where=WHERE,
        locations=f"{RESULTS}/plan/{{corpus}}/locations/{{bucket}}.json",
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
        metadata=f"{RESULTS}/plan/{{corpus}}/metadata.jsonl",
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
        config=lambda wildcards: to_json(project_manifest(ROOT, wildcards.corpus)),
        version=STAGES["manifest"].version,
        digest=lambda wildcards: PLAN.corpora[wildcards.corpus].metadata_digest,
        out=f"{RESULTS}/manifest/{{corpus}}",
    shell:
        "musicgen manifest --config {params.config:q} --metadata {input.metadata:q} --digest {params.digest} "
        "--audio {input.audio:q} --out {params.out:q} 2>&1 | tee -i {log:q}"
