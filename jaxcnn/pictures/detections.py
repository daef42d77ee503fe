"""temporary"""


def save_curves(result, path):
    pass


def save_recall(found, path):
    pass


def save_pictures(split, detections, class_names, folder, min_score, limit):
    return 0
