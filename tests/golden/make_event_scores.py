"""Make event_scores.json: scores of random scenes by sed_scores_eval 0.0.4 and sed_eval 0.2.1, and the scenes.

    pip install sed_scores_eval sed_eval
    python tests/golden/make_event_scores.py

Times and scores are rounded, so that ties occur, and events that end on the border of a segment.
"""

import json
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("event_scores.json")
CLASSES = ["bark", "rain", "siren"]
HOP_S, N_WINDOWS, THRESHOLD = 0.5, 60, 0.495
COLLARS = [(0.2, 0.2, 0.5), (0.5, 0.5, 0.2), (1.0, 2.0, 0.0)]
SEGMENTS_S = [1.0, 0.75]
CRITERIA = [
    {"dtc": 0.7, "gtc": 0.7, "cttc": None, "alpha_ct": 0.0, "alpha_st": 1.0, "max_efpr": 600.0},
    {"dtc": 0.1, "gtc": 0.1, "cttc": 0.3, "alpha_ct": 0.5, "alpha_st": 1.0, "max_efpr": 600.0},
    {"dtc": 0.5, "gtc": 0.5, "cttc": 0.5, "alpha_ct": 1.0, "alpha_st": 0.0, "max_efpr": 400.0},
    {"dtc": 0.5, "gtc": 0.5, "cttc": None, "alpha_ct": 0.0, "alpha_st": 0.0, "max_efpr": 1000.0},
]


def scene(seed):
    """True events of a recording, and scores of its windows that follow them more or less."""
    rng = np.random.default_rng(seed)
    events, scores = [], np.clip(rng.normal(0.25, 0.15, (N_WINDOWS, len(CLASSES))), 0, 1)
    for label in CLASSES:
        clock = rng.uniform(0, 4)
        while clock < N_WINDOWS * HOP_S - 1:
            end = min(clock + rng.choice([0.6, 1.5, 4.0]) * rng.uniform(0.7, 1.3), N_WINDOWS * HOP_S)
            events.append((round(clock * 4) / 4, round(end, 2) + 0.25, label))
            heard = CLASSES.index(label) if rng.random() < 0.8 else rng.integers(len(CLASSES))
            a, b = np.clip(np.round(np.add([clock, end], rng.normal(0, 0.3, 2)) / HOP_S).astype(int), 0, N_WINDOWS)
            scores[a : b + 1, heard] += rng.uniform(0.2, 0.6)
            clock = end + rng.uniform(1, 8)
    events = [(start, min(end, N_WINDOWS * HOP_S), label) for start, end, label in events]
    return {"events": sorted(events), "scores": np.clip(scores, 0, 1).round(2).tolist()}


def edges():
    return np.arange(N_WINDOWS + 1) * HOP_S


def found_events(scores):
    """Runs of windows at or above the threshold, by start."""
    found = []
    for k, label in enumerate(CLASSES):
        on = np.diff(np.pad((np.array(scores)[:, k] >= THRESHOLD).astype(int), 1))
        for a, b in zip(np.flatnonzero(on > 0), np.flatnonzero(on < 0), strict=True):
            found.append((float(edges()[a]), float(edges()[b]), label))
    return sorted(found)


def by_sed_scores_eval(scenes):
    """Precision, recall, F1 and error rate of classes and means, and PSDS."""
    from sed_scores_eval import collar_based, intersection_based, segment_based
    from sed_scores_eval.base_modules.scores import create_score_dataframe

    frames = {
        str(i): create_score_dataframe(np.array(each["scores"]), edges(), CLASSES) for i, each in enumerate(scenes)
    }
    truth = {str(i): [tuple(event) for event in each["events"]] for i, each in enumerate(scenes)}
    lengths = {str(i): N_WINDOWS * HOP_S for i in range(len(scenes))}
    out = {"collar": [], "segment": [], "psds": []}

    def both(module, *args, **options):
        f1, precision, recall, _ = module.fscore(frames, truth, *args, threshold=THRESHOLD, **options)
        errors, *_ = module.error_rate(frames, truth, *args, threshold=THRESHOLD, **options)
        names = [*CLASSES, "macro_average", "micro_average"]
        return {n: [float(x[n]) if n in x else None for x in (precision, recall, f1, errors)] for n in names}

    for onset, offset, share in COLLARS:
        out["collar"].append(both(collar_based, onset_collar=onset, offset_collar=offset, offset_collar_rate=share))
    for segment in SEGMENTS_S:
        f1, precision, recall, _ = segment_based.fscore(
            frames, truth, lengths, threshold=THRESHOLD, segment_length=segment
        )
        errors, *_ = segment_based.error_rate(frames, truth, lengths, threshold=THRESHOLD, segment_length=segment)
        names = [*CLASSES, "macro_average", "micro_average"]
        out["segment"].append(
            {n: [float(x[n]) if n in x else None for x in (precision, recall, f1, errors)] for n in names}
        )
    for each in CRITERIA:
        options = {f"{name}_threshold": each[name] for name in ("dtc", "gtc", "cttc")}
        options |= {name: each[name] for name in ("alpha_ct", "alpha_st", "max_efpr")}
        score, classes, (etpr, efpr), _ = intersection_based.psds(frames, truth, lengths, **options)
        out["psds"].append(
            {
                "score": float(score),
                "classes": {label: float(classes[label]) for label in CLASSES},
                "efpr": efpr.tolist(),
                "etpr": etpr.tolist(),
            }
        )
    return out


def by_sed_eval(scenes):
    """Error rates over all classes, which count substitutions; and those of classes."""
    import dcase_util
    import sed_eval

    def container(events, i):
        rows = [
            {"filename": f"{i}.wav", "onset": start, "offset": end, "event_label": label}
            for start, end, label in events
        ]
        return dcase_util.containers.MetaDataContainer(rows)

    def evaluated(metrics):
        for i, each in enumerate(scenes):
            metrics.evaluate(container(each["events"], i), container(found_events(each["scores"]), i))
        overall, classes = metrics.results_overall_metrics(), metrics.results_class_wise_metrics()
        return {
            "micro_average": [overall["f_measure"]["f_measure"], overall["error_rate"]["error_rate"]],
            **{n: [classes[n]["f_measure"]["f_measure"], classes[n]["error_rate"]["error_rate"]] for n in CLASSES},
        }

    collar = [
        evaluated(sed_eval.sound_event.EventBasedMetrics(CLASSES, t_collar=onset, percentage_of_length=share))
        for onset, offset, share in COLLARS
        if onset == offset  # it has one collar for both
    ]
    onset_only = evaluated(sed_eval.sound_event.EventBasedMetrics(CLASSES, t_collar=0.5, evaluate_offset=False))
    segment = [
        evaluated(sed_eval.sound_event.SegmentBasedMetrics(CLASSES, time_resolution=segment)) for segment in SEGMENTS_S
    ]
    return {"collar": collar, "onset_only": onset_only, "segment": segment}


def make():
    """Return what the file holds."""
    scenes = [scene(seed) for seed in range(5)]
    scenes.append({"events": [], "scores": scene(9)["scores"]})  # nothing but false alarms
    return {"scenes": scenes, "sed_scores_eval": by_sed_scores_eval(scenes), "sed_eval": by_sed_eval(scenes[:5])}


if __name__ == "__main__":
    PATH.write_text(json.dumps(make()), encoding="utf-8")
