"""Measures FAISS, NumKong and numpy on the work of a report of `tvs bench match --json`, and prints both side by side.

usage: peers.py MATCH.json OUT.json [PEER,PEER...]

Top-5 by inner product of 512 dimensions. Each figure is a median, or the one run of what takes seconds.

- FAISS "stock" is IndexFlatIP as pip installs it. "tuned" takes OpenBLAS from the first probe on, with its AVX-512
  kernels where the processor has them. SQ8 is IndexScalarQuantizer with 8 bits a value, which is not exact.
- NumKong has dot products without a top-k.
- numpy is a matrix product with argpartition.
- On a CUDA device torch multiplies matrices, in fp32 and in fp16 (which is not exact), and takes the top-k there.
  Probes go to the device and hits come back within the time. The rate of a copy on the device is measured beside it.
"""

import json
import os
import subprocess
import sys
import time

DIMS, K, SPELL_S, LONG_S = 512, 5, 0.6, 3


def median(run, spell_s=SPELL_S):
    start = time.perf_counter()
    run()
    first = time.perf_counter() - start
    if first > LONG_S:
        return first * 1e6
    times, begun = [], time.perf_counter()
    while len(times) < 3 or (time.perf_counter() - begun < spell_s and len(times) < 20000):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2] * 1e6


def units(generator, count):
    import numpy

    values = generator.standard_normal((count, DIMS), dtype=numpy.float32)
    values /= numpy.linalg.norm(values, axis=1, keepdims=True)
    return values


def measure(peer, works):
    """Runs in a process of its own, since OpenBLAS reads its settings once."""
    import numpy

    generator, results = numpy.random.default_rng(1), {}
    by_rows = {}
    for rows, probes, threads in works:
        by_rows.setdefault(rows, []).append((probes, threads))
    for rows, cases in by_rows.items():
        gallery = units(generator, rows)
        search = prepare(peer, gallery)
        for probes, threads in cases:
            wanted = units(generator, probes)
            results[f"{rows} {probes} {threads}"] = median(lambda: search(wanted, threads))
        del search, gallery
    print(json.dumps(results))


def has_avx512():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return "avx512f" in file.read()
    except OSError:
        return False


def device_copy_gb_per_s():
    """Bytes read and written by a copy of a gibibyte on the device."""
    import torch

    source = torch.ones(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)

    def copy():
        target.copy_(source)
        torch.cuda.synchronize()

    return 2 * source.numel() / median(copy) / 1e3


def prepare(peer, gallery):
    if peer.startswith("torch"):
        import torch

        if not torch.cuda.is_available():
            sys.exit("no CUDA device")
        kind = torch.float16 if peer.endswith("fp16") else torch.float32
        columns = torch.from_numpy(gallery).to("cuda", kind).T
        # Scores of so many probes at once take 16 GB at most.
        together = max(1, (16 << 30) // (len(gallery) * kind.itemsize))

        def search(probes, threads):
            del threads
            for start in range(0, len(probes), together):
                scores = torch.from_numpy(probes[start : start + together]).to("cuda", kind) @ columns
                best = scores.topk(min(K, len(gallery)), dim=1)
                best.values.cpu(), best.indices.cpu()

        return search
    if peer.startswith("faiss"):
        import faiss

        if peer == "faiss tuned":
            faiss.cvar.distance_compute_blas_threshold = 1
        if peer == "faiss sq8":
            index = faiss.IndexScalarQuantizer(DIMS, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
            index.train(gallery[: min(len(gallery), 20000)])
        else:
            index = faiss.IndexFlatIP(DIMS)
        index.add(gallery)

        def search(probes, threads):
            faiss.omp_set_num_threads(threads)
            index.search(probes, K)

        return search
    import numpy

    if peer == "numkong i8 dots":
        import numkong

        codes = numpy.clip(numpy.rint(gallery * 127 / numpy.abs(gallery).max()), -127, 127).astype(numpy.int8)

        def search(probes, threads):
            del threads
            wanted = numpy.clip(numpy.rint(probes * 127 / numpy.abs(probes).max()), -127, 127).astype(numpy.int8)
            numkong.cdist(wanted, codes, "dot")

        return search
    columns = numpy.ascontiguousarray(gallery.T)

    def search(probes, threads):
        del threads
        scores = probes @ columns
        numpy.argpartition(-scores, min(K, scores.shape[1] - 1), axis=1)[:, :K]

    return search


def main():
    if sys.argv[1] == "--measure":
        return measure(sys.argv[2], json.loads(sys.argv[3]))
    if sys.argv[1] == "--device-copy":
        return print(device_copy_gb_per_s())
    with open(sys.argv[1], encoding="utf-8") as file:
        report = json.load(file)
    rows = report["rows"]
    is_on_device = lambda row: row["engine"].startswith("gpu") or row["engine"] == "auto"
    dense = [row for row in rows if not row["work"].startswith("ragged")]
    works_of = lambda rows: sorted({(row["rows"], row["probes"], row["threads"]) for row in rows})
    on_host = works_of(row for row in dense if not is_on_device(row))
    on_device = works_of(row for row in dense if is_on_device(row))
    peers = {}
    torches = ["torch fp32", "torch fp16"] if on_device else []
    all_peers = ["faiss stock", "faiss tuned", "faiss sq8", "numkong i8 dots", "numpy"] if on_host else []
    wanted = sys.argv[3].split(",") if len(sys.argv) > 3 else all_peers + torches
    for peer in (peer for peer in all_peers + torches if peer in wanted):
        environment = dict(os.environ)
        environment.pop("OPENBLAS_L2_SIZE", None)
        environment.pop("OPENBLAS_CORETYPE", None)
        if peer == "faiss tuned" and has_avx512():
            environment["OPENBLAS_CORETYPE"] = "SkylakeX"
        works = on_device if peer in torches else on_host
        if peer in ("numkong i8 dots", "numpy"):
            environment["OPENBLAS_NUM_THREADS"] = environment["OMP_NUM_THREADS"] = "1"
            # Neither keeps the best of a matrix of a billion scores in bounded memory.
            works = [work for work in on_host if work[2] == 1 and work[0] * work[1] <= 20_000_000]
        command = [sys.executable, __file__, "--measure", peer, json.dumps(works)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"{peer}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
            continue
        peers[peer] = json.loads(done.stdout)
    for limits in report["limits"]:
        figures = (f"{name} {value:.0f}" for name, value in limits.items() if name != "threads" and value)
        print(f"{limits['threads']} thread(s): " + ", ".join(figures))
    if on_device:
        command = [sys.executable, __file__, "--device-copy"]
        copied = subprocess.run(command, capture_output=True, text=True, check=False)
        rate = f"{float(copied.stdout):.0f} GB/s" if copied.returncode == 0 else "not measured: no torch with CUDA"
        print(f"a copy on the device, bytes read and written: {rate}")
    names = list(peers)
    heads = " ".join(f"{name:>15}" for name in names)
    print(f"{'rows x probes':>18} {'threads':>7} {'ours':>14} {'us':>11} {heads}   (us, and how many times ours)")
    for row in rows:
        key = f"{row['rows']} {row['probes']} {row['threads']}"
        ragged = row["work"].startswith("ragged")
        cells = []
        for name in names:
            us = None if ragged else peers[name].get(key)
            cells.append(f"{'-':>15}" if us is None else f"{us:>9.0f} {us / row['median_us']:>4.1f}x")
        shape = f"{row['rows']} x {row['probes']}" if not ragged else f"ragged {row['probes']} x {row['rows']}"
        print(f"{shape:>18} {row['threads']:>7} {row['engine']:>14} {row['median_us']:>11.1f} " + " ".join(cells))
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump({"ours": report, "peers_us": peers}, file, indent=1)


main()
