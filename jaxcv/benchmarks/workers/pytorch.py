# pyright: reportMissingImports=false
"""PyTorch, written for speed: fused Adam, data resident as bytes, nothing fetched per step."""

import contextlib
import functools
import sys
from collections.abc import Callable

import protocol
import torch
from torch import nn
from torch.nn import functional as F


def conv(inputs: int, outputs: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=bias)


def normed(inputs: int, outputs: int, stride: int = 1, scale: bool = False) -> nn.Sequential:
    layer = nn.BatchNorm2d(outputs, 1e-3, 0.01)
    layer.weight.requires_grad_(scale)
    return nn.Sequential(conv(inputs, outputs, stride), layer)


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.first, self.second = normed(inputs, outputs, stride), normed(outputs, outputs)
        self.stride, self.new = stride, outputs - inputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(F.relu(self.first(x)))
        if self.stride > 1 or self.new:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new))
        return F.relu(x + y)


def resnet(depth: int) -> nn.Module:
    layers, inputs = [normed(3, 16), nn.ReLU()], 16
    for stack in range(3):
        for block in range((depth - 2) // 6):
            layers.append(Block(inputs, 16 * 2**stack, 2 if stack and not block else 1))
            inputs = 16 * 2**stack
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class Whitening(nn.Conv2d):
    """Its kernel is not trained; which numbers it holds is all the same here."""

    def __init__(self) -> None:
        super().__init__(3, 24, 2)
        self.weight.requires_grad_(False)


def offset(features: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(features, 1e-12, 0.4)
    layer.weight.requires_grad_(False)
    return layer


class Scaled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (1 / 9)


def speedrun() -> nn.Module:
    layers, inputs = [Whitening(), nn.GELU()], 24
    for outputs in (64, 256, 256):
        layers += [conv(inputs, outputs), nn.MaxPool2d(2), offset(outputs), nn.GELU()]
        layers += [conv(outputs, outputs), offset(outputs), nn.GELU()]
        inputs = outputs
    head = nn.Linear(256, 10, bias=False)
    return nn.Sequential(*layers, nn.MaxPool2d(3), nn.Flatten(), head, Scaled())


def network(name: str) -> nn.Module:
    if name == "speedrun":
        return speedrun()
    if name == "softmax":
        return nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    if name == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(3072, 512), nn.ReLU(), nn.Linear(512, 10))
    if name == "autoencoder":
        return Autoencoder()
    if name == "resnet20":
        return resnet(20)
    if name == "cnn_global_pool":
        shapes = ((3, 64, 2), (64, 64, 2), (64, 64, 1))
        blocks = [m for shape in shapes for m in (normed(*shape), nn.ReLU())]
        return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    plain = name == "cnn"
    blocks = []
    for inputs in (3, 64):
        layer = conv(inputs, 64, bias=True) if plain else normed(inputs, 64, scale=True)
        blocks += [layer, nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(4096, 10))


class Autoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(256, 64), nn.Linear(64, 256)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.sigmoid(self.encode(x.flatten(1)))
        return torch.sigmoid(self.decode(hidden)), hidden

    def cost(self, x: torch.Tensor) -> torch.Tensor:
        """Half the squared error, weight decay and the divergence of the mean activation."""
        outputs, hidden = self(x)
        error = (outputs - x.flatten(1)).square().sum() / (2 * len(x))
        decay = self.encode.weight.square().sum() + self.decode.weight.square().sum()
        rho, mean = 0.05, hidden.mean(0)
        sparse = rho * torch.log(rho / mean) + (1 - rho) * torch.log((1 - rho) / (1 - mean))
        return error + 0.5 * 5e-4 * decay + 0.01 * sparse.sum()


class Worker:
    def __init__(self, task: protocol.Task):
        torch.manual_seed(0)
        self.task = task
        channels_last = task.options.get("channels_last", False)
        images = torch.from_numpy(task.images).permute(0, 3, 1, 2)
        # Stored in the order of the network's own memory format, so that no batch is transposed.
        self.images = images if channels_last else images.contiguous()
        self.channels_last = channels_last
        self.labels = torch.from_numpy(task.labels).long()
        self.mean = torch.from_numpy(task.mean)[:, None, None]
        self.model = network(task.network)
        if channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.model.parameters(), task.learning_rate, fused=True)
        compile = functools.partial(torch.compile, dynamic=False)
        compiled: Callable = compile if task.options.get("compile") else lambda f: f
        self.loss = compiled(self._loss)
        self.outputs = compiled(self._outputs)
        self.total = torch.zeros(())
        self.matrix = torch.ones((protocol.PRODUCT_SIZE, protocol.PRODUCT_SIZE))

    def precision(self) -> contextlib.AbstractContextManager:
        if self.task.precision == "bfloat16":
            return torch.autocast("cpu", dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def normalized(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.float() * (1 / 255) - self.mean

    def _outputs(self, pixels: torch.Tensor) -> torch.Tensor:
        with self.precision():
            whole = isinstance(self.model, Autoencoder)  # which is given numbers, not bytes
            return self.model(pixels if whole else self.normalized(pixels))

    def _loss(self, pixels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if isinstance(self.model, Autoencoder):
            return self.model.cost(pixels)
        return F.cross_entropy(self._outputs(pixels).float(), labels)

    def batch(self, index: torch.Tensor) -> torch.Tensor:
        if self.channels_last:
            return self.images.permute(0, 2, 3, 1).index_select(0, index).permute(0, 3, 1, 2)
        return self.images.index_select(0, index)

    def update(self, pixels: torch.Tensor, labels: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        loss = self.loss(pixels, labels)
        loss.backward()
        self.optimizer.step()
        self.total += loss.detach()

    def epoch(self) -> None:
        size, steps = self.task.batch_size, self.task.steps_per_epoch
        self.model.train()
        for _ in range(self.task.epochs):
            self.total.zero_()
            if steps == 1:  # the order of a full batch means nothing
                self.update(self.images, self.labels)
                continue
            order = torch.randperm(len(self.images))
            for i in range(steps):
                index = order[i * size : (i + 1) * size]
                self.update(self.batch(index), self.labels.index_select(0, index))
            self.total.item()

    def step(self) -> None:
        self.model.train()
        pixels, labels = self.batch(torch.arange(self.task.batch_size)), self.labels
        for _ in range(self.task.steps):
            self.update(pixels, labels[: self.task.batch_size])

    def forward(self) -> None:
        self.model.eval()
        pixels = self.batch(torch.arange(self.task.batch_size))
        with torch.inference_mode():
            for _ in range(self.task.steps):
                self.outputs(pixels)

    def product(self) -> None:
        for _ in range(protocol.PRODUCTS):
            torch.mm(self.matrix, self.matrix)


if __name__ == "__main__":
    channel = protocol.Channel()
    worker = Worker(protocol.Task(sys.argv[1]))
    channel.ready("torch", "numpy")
    protocol.serve(
        channel,
        {
            "epoch": worker.epoch,
            "step": worker.step,
            "forward": worker.forward,
            "product": worker.product,
        },
    )
