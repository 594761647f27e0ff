"""A ResNet-50, and how long its steps wait for their batches."""

import time
from itertools import islice

import torch
from torch import nn

from benchmarks.gpu.feeding import Batches, endless, wait_for
from benchmarks.gpu.store import CLASSES, SHAPE


class Block(nn.Module):
    """A bottleneck of ResNet-50: convolutions 1 x 1, 3 x 3, 1 x 1, and the connection past them."""

    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(inside, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width),
            nn.ReLU(True),
            nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width),
        )  # fmt: skip
        self.past: nn.Module = nn.Identity()
        if stride > 1 or inside != 4 * width:
            self.past = nn.Sequential(
                nn.Conv2d(inside, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Add both."""
        return torch.relu(self.convolutions(image) + self.past(image))


def resnet50(bands: int, classes: int) -> nn.Module:
    """ResNet-50 (He et al. 2015, arXiv:1512.03385, table 1) over any number of bands."""
    layers: list[nn.Module] = [
        nn.Conv2d(bands, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(True),
        nn.MaxPool2d(3, 2, 1),
    ]  # fmt: skip
    inside = 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(count):
            layers.append(Block(inside, width, stride if number == 0 else 1))
            inside = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, classes))


class Training:
    """A ResNet-50 that is trained in bfloat16, channels last."""

    def __init__(self, device: torch.device) -> None:
        torch.manual_seed(0)
        self.device = device
        self.model = resnet50(SHAPE[0], CLASSES).to(device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.01, momentum=0.9)
        self.loss = nn.BCEWithLogitsLoss()

    def step(self, image: torch.Tensor, label: torch.Tensor) -> None:
        """Forward, backward, update."""
        image = image.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16):
            loss = self.loss(self.model(image), label)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def time(self, batches: Batches, seconds: float) -> tuple[float, float]:
        """Give (seconds a step, seconds of it in which the loop waited for its batch)."""
        passing = endless(batches)
        for image, label in islice(passing, 4):
            self.step(image, label)
        wait_for(self.device)
        begun, waited, steps = time.perf_counter(), 0.0, 0
        while time.perf_counter() - begun < seconds or not steps:
            before = time.perf_counter()
            image, label = next(passing)
            waited += time.perf_counter() - before
            self.step(image, label)
            steps += 1
            wait_for(self.device)  # as in a loop that logs its loss
        return (time.perf_counter() - begun) / steps, waited / steps
