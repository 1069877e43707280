# Prepared audio -> codes, and where each track's codes lie.


rule tokenize:
    input:
        audio=f"{RESULTS}/audio/{{corpus}}/{{bucket}}.tar",
        stage=f"{PLAN_DIR}/stages/tokenize.json",
    output:
        f"{TOKENS_DIR}/{{corpus}}/{{bucket}}.tar",
    log:
        f"{RESULTS}/logs/tokenize/{{corpus}}/{{bucket}}.log",
    params:
        config=lambda wildcards: CONFIGS["tokenize", ""],
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
        list=f"{PLAN_DIR}/{{corpus}}/lists/{FLOW.codec_name}.txt",
        stage=f"{PLAN_DIR}/stages/index.json",
    output:
        f"{TOKENS_DIR}/{{corpus}}/index.bin",
    log:
        f"{RESULTS}/logs/index/{{corpus}}.log",
    params:
        config=lambda wildcards: CONFIGS["index", ""],
        version=STAGES["index"].version,
    resources:
        mem_mb=2000,
        runtime=60,
    shell:
        "musicgen index --config {params.config:q} --shards @{input.list:q} --out {output:q} 2>&1 | tee -i {log:q}"
