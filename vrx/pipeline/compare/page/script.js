"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const names = [...document.querySelectorAll(".videos .key")].map((key) => key.textContent);
  const role = (parent, name) => parent.querySelector(`[data-role="${name}"]`);

  // a divider over two layers, or over a canvas that is drawn anew
  function slider(figure, redraw) {
    const stage = figure.querySelector(".stage");
    const divider = stage.querySelector(".divider");
    const left = role(figure, "left");
    const right = role(figure, "right");
    const update = () => {
      stage.style.setProperty("--at", `${divider.value}%`);
      stage.dataset.left = names[left.value];
      stage.dataset.right = names[right.value];
      divider.setAttribute("aria-valuetext", `${Math.round(divider.value)} % ${names[left.value]}, the rest ${names[right.value]}`);
      redraw({ at: divider.value / 100, left: Number(left.value), right: Number(right.value) });
    };
    for (const control of [divider, left, right]) control.addEventListener("input", update);
    update();
    return update;
  }

  for (const figure of document.querySelectorAll(".still")) {
    const stage = figure.querySelector(".stage");
    const layers = [...stage.querySelectorAll(".layer")];
    slider(figure, ({ left, right }) => {
      for (const [number, layer] of layers.entries()) {
        layer.dataset.side = number === left ? "left" : number === right ? "right" : "none";
      }
    });
    role(figure, "zoom").addEventListener("input", (event) => {
      const zoom = Number(event.target.value);
      for (const layer of layers) {
        const image = layer.firstElementChild;
        image.style.transformOrigin = `${stage.dataset.x}% ${stage.dataset.y}%`;
        image.style.transform = zoom > 1 ? `scale(${zoom})` : "";
        image.style.imageRendering = zoom > 2 ? "pixelated" : "";
      }
    });
  }

  function video() {
    const figure = document.querySelector(".clip");
    const excerpt = data.excerpt;
    if (!figure || !excerpt) return;
    const bytes = Uint8Array.from(atob(document.getElementById("clip").textContent), (letter) => letter.charCodeAt(0));
    const film = document.createElement("video");
    film.muted = film.loop = film.playsInline = true;
    film.preload = "auto";
    const canvas = figure.querySelector("canvas");
    const context = canvas.getContext("2d");
    const [width, height] = excerpt.size;
    const [play, seek, place] = ["play", "seek", "place"].map((name) => role(figure, name));
    const times = excerpt.times;
    let view = { at: 0.5, left: names.length - 2, right: names.length - 1 };

    const draw = () => {
      const edge = Math.round(width * view.at);
      const part = (number, from, to) => {
        if (to > from) context.drawImage(film, from, number * height, to - from, height, from, 0, to - from, height);
      };
      part(view.left, 0, edge);
      part(view.right, edge, width);
    };
    const current = () => {
      let frame = 0;
      while (frame + 1 < times.length && times[frame + 1] <= film.currentTime + 1e-3) frame += 1;
      return frame;
    };
    const show = () => {
      draw();
      const frame = current();
      seek.value = frame;
      place.textContent = `frame ${excerpt.first + frame}, ${(excerpt.start + times[frame]).toFixed(2)} s`;
      seek.setAttribute("aria-valuetext", place.textContent);
    };
    const run = () => {
      show();
      if (!film.paused) requestAnimationFrame(run);
    };
    const go = (frame) => {
      film.pause();
      const target = Math.min(Math.max(frame, 0), times.length - 1);
      const next = target + 1 < times.length ? times[target + 1] : film.duration || times[target] + 0.02;
      film.currentTime = (times[target] + next) / 2; // the middle: edges may belong to either frame
    };
    film.addEventListener("loadeddata", () => {
      figure.hidden = false;
      document.getElementById("no-video").hidden = true;
      slider(figure, (wanted) => { view = wanted; draw(); });
      go(0); // what is loaded may not be drawable yet; what was sought is
    }, { once: true });
    if (film.requestVideoFrameCallback) {
      const presented = () => { show(); film.requestVideoFrameCallback(presented); };
      film.requestVideoFrameCallback(presented);
    }
    film.addEventListener("seeked", show);
    film.addEventListener("play", () => { play.textContent = "Pause"; play.setAttribute("aria-label", "Pause"); run(); });
    film.addEventListener("pause", () => { play.textContent = "Play"; play.setAttribute("aria-label", "Play"); });
    play.addEventListener("click", () => (film.paused ? film.play() : film.pause()));
    role(figure, "back").addEventListener("click", () => go(current() - 1));
    role(figure, "forward").addEventListener("click", () => go(current() + 1));
    seek.addEventListener("input", () => go(Number(seek.value)));
    role(figure, "speed").addEventListener("input", (event) => { film.playbackRate = Number(event.target.value); });
    film.src = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
  }
  video();

  function plots() {
    const cursor = document.getElementById("cursor");
    if (!cursor) return;
    const figures = [...document.querySelectorAll(".plots figure")];
    const place = role(cursor.parentElement, "place");
    const last = Math.max(1, data.numbers.length - 1);
    const update = () => {
      const column = Number(cursor.value);
      place.textContent = `frame ${data.numbers[column]}, ${data.times[column].toFixed(2)} s`;
      cursor.setAttribute("aria-valuetext", place.textContent);
      for (const figure of figures) {
        figure.classList.add("reading");
        const line = figure.querySelector(".cursor");
        const width = line.ownerSVGElement.viewBox.baseVal.width;
        line.setAttribute("x1", (column / last) * width);
        line.setAttribute("x2", (column / last) * width);
        for (const output of figure.querySelectorAll("output")) {
          const value = data.lines[figure.dataset.figure][output.dataset.video][column];
          output.textContent = value === null ? "–" : String(value);
        }
      }
    };
    cursor.addEventListener("input", update);
    for (const figure of figures) {
      const svg = figure.querySelector("svg");
      svg.addEventListener("pointermove", (event) => {
        const box = svg.getBoundingClientRect();
        cursor.value = Math.round(((event.clientX - box.left) / box.width) * last);
        update();
      });
    }
  }
  plots();
})();
