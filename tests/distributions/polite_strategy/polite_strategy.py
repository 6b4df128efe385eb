from dataclasses import replace

from autotune.plugin import Strategy, hookimpl


class Polite(Strategy):
    name = "polite"  # leaves a core to the other users of the machine

    def defaults(self, context):
        del context
        return {"spare": 1}

    def space(self, context):
        from optuna.distributions import CategoricalDistribution  # not above: it is slow to import

        del context
        return {"spare": CategoricalDistribution((0, 1))}

    def apply(self, policy, params, context):
        if params["spare"] == 0:
            return policy
        cores = max(1, context.machine.cores - params["spare"])
        capped = {name: min(getattr(policy, name), cores) for name in ("workers", "core_slots", "width", "widest")}
        return replace(policy, **capped, most_workers=min(policy.most_workers, cores // capped["width"]))


@hookimpl
def autotune_strategies():
    return [Polite()]
