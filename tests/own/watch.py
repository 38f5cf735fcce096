from distlenet.training.events import EpochDone, RunFinished

best = {}


def watch(event):  # every event of the run, on the root rank; what it returns is ignored
    """Print the three best epochs at the end."""
    if isinstance(event, EpochDone) and event.validation:
        best[event.epoch + 1] = event.validation.accuracy
    if isinstance(event, RunFinished):
        for epoch in sorted(best, key=best.get, reverse=True)[:3]:
            print(f"epoch {epoch}: {100 * best[epoch]:.2f} %")
