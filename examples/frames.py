"""Restore a video in Python, frame by frame.

    python examples/frames.py in.mp4 out.mp4

One call does the same without a loop: vrx.upscale("in.mp4", "out.mp4", scale=2).
"""

import sys

import vrx


def main(source: str, result: str) -> None:
    model = vrx.load_model("embedded")  # once, for any number of videos
    with vrx.VideoReader(source) as video, vrx.VideoWriter(result, like=video, scale=2) as out:
        for number, frame in enumerate(model.upscale(video, scale=2)):
            out.write(frame)  # times, colors, sound and metadata are the source's
            if number % 25 == 0:
                picture = frame.to_numpy()  # RGB [H, W, 3]; also frame.to_tensor()
                print(f"{float(frame.time):.2f} s: mean brightness {picture.mean():.0f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
