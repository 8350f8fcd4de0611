"""A BLAS kernel that nobody here has, simulated: `pytest --perturb SEED`.

Every product of matrices of the packages adds its terms in another order, drawn by the seed for each shape; NumPy's
without BLAS, as `einsum` does. Any kernel might add so, hence results stay within all bounds. Every run starts one ulp
away from its weights. A test that fails here expects what no kernel guarantees.
"""

import ast
import inspect
import pkgutil
from functools import cache
from importlib import import_module
from types import FunctionType

import numpy as np
import pytest
from comparing import each

PRODUCT = "_product_of_another_kernel"


def simulate(seed, with_torch):
    """Let the packages of this process compute as on a kernel of this number, until the returned function is called."""
    from numpy_rnn.common import initial

    patch, draw = pytest.MonkeyPatch(), initial._draw  # one network
    patch.setattr(initial, "_draw", lambda *options: an_ulp_away(draw(*options), seed))
    for package in map(import_module, ("numpy_rnn", "numpy_rnn.engine")):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if not module.ispkg and not module.name.endswith("__main__"):
                exchange_products(patch, import_module(module.name), product_for(seed))
    if with_torch:
        import torch

        multiply = torch.Tensor.__matmul__

        def in_another_order(left, right):
            order = torch.from_numpy(order_for(seed, left.shape[-2:], right.shape[-2:]))
            return multiply(
                left[..., order], right[..., order, :] if right.ndim > 1 else right[order]
            )

        patch.setattr(torch.Tensor, "__matmul__", in_another_order)
    return patch.undo


class Products(ast.NodeTransformer):
    """Turns every spelling of a product of matrices into a call of one function (left, right, out=None)."""

    def visit_BinOp(self, node):
        self.generic_visit(node)
        if not isinstance(node.op, ast.MatMult):
            return node
        return ast.Call(ast.Name(PRODUCT, ast.Load()), [node.left, node.right], [])

    def visit_Call(self, node):
        self.generic_visit(node)
        if ast.unparse(node.func) == "np.einsum":
            node.func, node.args = ast.Name(PRODUCT, ast.Load()), node.args[1:]
        return node

    def visit_Attribute(self, node):
        of_numpy = ast.unparse(node) in ("np.matmul", "np.dot", "np.ndarray.dot")
        return ast.Name(PRODUCT, ast.Load()) if of_numpy else self.generic_visit(node)

    def visit_Name(self, node):
        return ast.Name(PRODUCT, ast.Load()) if node.id == "matmul" else node


def exchange_products(patch, module, product):
    """Let the functions and methods of a module multiply by this function; they stay the same objects."""
    tree = ast.fix_missing_locations(Products().visit(ast.parse(inspect.getsource(module))))
    copy = dict(vars(module))
    exec(compile(tree, module.__file__, "exec"), copy)
    for name, value in vars(module).copy().items():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        pairs = [(value, copy[name])]
        if inspect.isclass(value):
            pairs = [(method, vars(copy[name]).get(key)) for key, method in vars(value).items()]
        for function, changed in pairs:
            if (
                isinstance(function, FunctionType)
                and function.__code__.co_filename == module.__file__
            ):
                patch.setattr(function, "__code__", changed.__code__)
    patch.setattr(module, PRODUCT, product, raising=False)


@cache
def order_for(seed, left, right):
    """The order in which the terms of a product of matrices of these shapes are added."""
    return np.random.default_rng([seed, *left, *right]).permutation(left[-1])


def product_for(seed):
    """(left, right, out=None) → left right."""

    def product(left, right, out=None):
        order = order_for(seed, left.shape[-2:], right.shape[-2:])
        with np.errstate(all="ignore"):  # as BLAS
            return np.einsum(
                "...ij,...jk->...ik", left[..., order], right[..., order, :], out=out, order="C"
            )

    return product


def an_ulp_away(params, seed):
    """Parameters of which each number but 0 is one ulp away, up or down."""
    generator = np.random.default_rng(seed)

    def moved(theta):
        toward = generator.choice([-9, 9], theta.shape).astype(theta.dtype)
        return np.where(theta == 0, theta, np.nextafter(theta, toward))

    return each(moved, params)
