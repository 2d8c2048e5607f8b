"""`no_grad` and `enable_grad` as decorators of what runs in steps."""

import asyncio

import pytest

import tapegrad as tg


def recorded():
    return (tg.tensor(2.0, requires_grad=True) * 3.0).requires_grad


@pytest.mark.parametrize("mode, inside", [(tg.no_grad, False), (tg.enable_grad, True)])
@pytest.mark.parametrize("outer, outside", [(tg.no_grad, False), (tg.enable_grad, True)])
def test_a_decorated_generator_has_the_mode_at_each_step_and_its_caller_his_own(mode, inside, outer, outside):
    @mode()
    def steps():
        seen = [recorded()]
        try:
            seen.append((yield recorded()))
            seen.append(recorded())
            yield seen
        except KeyError:
            yield recorded()
        finally:
            closed.append(recorded())

    closed = []
    with outer():
        walk = steps()
        assert next(walk) is inside and recorded() is outside
        assert walk.send("sent") == [inside, "sent", inside] and recorded() is outside
        assert walk.throw(KeyError()) is inside and recorded() is outside
        walk.close()
        assert closed == [inside] and recorded() is outside
        assert list(steps())[1:] == [[inside, None, inside]]


def test_a_decorated_generator_passes_on_what_it_returns_and_raises():
    @tg.no_grad()
    def failing():
        yield 1
        raise KeyError("inside")

    @tg.no_grad()
    def returning():
        yield 1
        return recorded()

    def outer():
        found.append((yield from returning()))

    found = []
    assert list(outer()) == [1] and found == [False]
    with pytest.raises(KeyError, match="inside"):
        list(failing())
    assert tg.is_grad_enabled()


def test_a_decorated_coroutine_leaves_other_tasks_their_mode():
    @tg.no_grad()
    async def evaluating():
        seen = [recorded()]
        await asyncio.sleep(0)
        return [*seen, recorded()]

    async def training():
        seen = []
        for _ in range(4):
            seen.append(recorded())
            await asyncio.sleep(0)
        return seen

    async def both():
        return await asyncio.gather(evaluating(), training(), evaluating())

    assert asyncio.run(both()) == [[False] * 2, [True] * 4, [False] * 2]
    assert tg.is_grad_enabled()


def test_asynchronous_generators_are_refused():
    async def steps():
        yield 1

    with pytest.raises(tg.ArgumentError, match="steps"):
        tg.no_grad()(steps)
