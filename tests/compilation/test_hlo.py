"""The text of a compiled program as instructions."""

import jax
import jax.numpy as jnp
import pytest

from lstm_lab.compilation.hlo import Module

TEXT = """HloModule small, is_scheduled=true

FileNames
1 "ENTRY %x (a) -> b {"

%inner (p: f32[2]) -> f32[2] {
  %p = f32[2]{0:T(128)} parameter(0)
  ROOT %sine = f32[2]{0:T(128)} sine(%p), metadata={op_name="jit(f)/sin" stack_frame_id=3}
}

ENTRY %main (a: f32[2]) -> (f32[2], s32[]) {
  %a = f32[2]{0:T(128)} parameter(0)
  ROOT %result = (f32[2]{0:T(128)}, /*index=1*/s32[]) tuple(%wave, %one)
  %one = s32[] constant(1)
  %wave = f32[2]{0:T(128)} fusion(%a), kind=kLoop, calls=%inner, backend_config={"a":"(b"}
}
"""


def test_an_instruction_is_split_into_its_parts():
    module = Module(TEXT)
    assert module.entry == "main"
    a, one, wave, result = module.instructions("main")
    assert (a.opcode, a.shape, a.operands) == ("parameter", "f32[2]{0:T(128)}", [])
    assert (one.opcode, one.arguments) == ("constant", "1")
    assert (wave.opcode, wave.operands, wave.called) == ("fusion", ["a"], ["inner"])
    assert wave.attribute("kind") == "kLoop"
    assert result.shape == "(f32[2]{0:T(128)}, /*index=1*/s32[])"
    assert result.operands == ["wave", "one"]
    assert module.by_name("inner")["sine"].op_name == "jit(f)/sin"


def test_branches_are_called_computations():
    line = "  %c = f32[] conditional(%i, %x, %x), branch_computations={%first, %second}\n"
    module = Module(TEXT.replace("  %one = s32[] constant(1)\n", line))
    assert module.by_name("main")["c"].called == ["first", "second"]


def test_a_program_of_this_process_can_be_read():
    text = jax.jit(lambda x: jnp.sin(x) @ x).lower(jnp.ones((4, 4))).compile().as_text()
    module = Module(text)
    opcodes = [i.opcode for i in module.instructions(module.entry)]
    assert opcodes[0] == "parameter"
    assert len(opcodes) > 1


def test_another_text_is_refused():
    with pytest.raises(ValueError, match="no ENTRY computation"):
        Module("module @jit_f attributes {}")
