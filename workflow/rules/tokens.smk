# Prepared audio -> codes, and where each track's codes lie.


rule tokenize:
    input:
        audio=f"{RESULTS}/audio/{{corpus}}/{{bucket}}.tar",
    output:
        f"{TOKENS_DIR}/{{corpus}}/{{bucket}}.tar",
    log:
        f"{RESULTS}/logs/tokenize/{{corpus}}/{{bucket}}.log",
    params:
        config=lambda wildcards: to_json(project_tokenize(ROOT, CODEC)),
        version=STAGES["tokenize"].version,
        where=WHERE,
    resources:
        mem_mb=4000,
        runtime=120,
    shell:
        "musicgen tokenize --config {params.config:q} --audio {input.audio:q} --where {params.where:q} "
        "--out {output:q} 2>&1 | tee -i {log:q}"


rule index:
    input:
        shards=buckets(TOKENS_DIR, ".tar"),
    output:
        f"{TOKENS_DIR}/{{corpus}}/index.bin",
    log:
        f"{RESULTS}/logs/index/{{corpus}}.log",
    params:
        config=lambda wildcards: to_json(project_index(CODEC)),
        version=STAGES["index"].version,
    resources:
        mem_mb=2000,
        runtime=60,
    shell:
        "musicgen index --config {params.config:q} --shards {input.shards:q} --out {output:q} 2>&1 | tee -i {log:q}"
