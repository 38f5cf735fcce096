// What the page shows of an answer: the verdict, the bars, the picture that the network sees, the layers.

const at = (id) => document.getElementById(id);
const rows = [...document.querySelectorAll(".bars li")];
const layers = [...document.querySelectorAll(".layer")].map(prepareLayer);
let latest = null;

export function showAnswer(data) {
  latest = data;
  const words = data.label.length > 2;
  at("label").textContent = data.label;
  at("label").classList.toggle("word", words);
  at("probability").textContent = percent(data.probability);
  say(data.probability < 0.5 ? "The network is not sure." : "");
  const best = data.probabilities.indexOf(Math.max(...data.probabilities));
  rows.forEach((row, i) => {
    row.classList.toggle("first", i === best);
    row.querySelector(".bar span").style.transform = `scaleX(${data.probabilities[i]})`;
    row.querySelector(".share").textContent = percent(data.probabilities[i]);
  });
  paint();
}

export function showNothing(sentence, error = false) {
  latest = null;
  at("label").textContent = "";
  at("label").classList.remove("word");
  at("probability").textContent = "";
  say(sentence, error);
  for (const row of rows) {
    row.classList.remove("first");
    row.querySelector(".bar span").style.transform = "scaleX(0)";
    row.querySelector(".share").textContent = "–";
  }
  for (const canvas of document.querySelectorAll("#seen, .layer canvas")) {
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  }
}

// For those who do not see the page: said once when a stroke is done, not at every move of the pen.
export function speak(text) {
  at("spoken").textContent = text;
}

function say(sentence, error = false) {
  at("sentence").textContent = sentence;
  at("sentence").classList.toggle("error", error);
}

export function percent(share) {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return `${value.toFixed(1)} %`;
}

function prepareLayer(figure) {
  const shape = figure.dataset.shape.split(" ").map(Number);
  const holder = figure.lastElementChild;
  const [count, height, width] = shape.length === 3 ? shape : [1, Math.ceil(shape[0] / 42), Math.min(shape[0], 42)];
  return Array.from({ length: count }, () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    if (shape.length === 1) canvas.style.width = `${11 * width}px`;
    holder.append(canvas);
    return canvas;
  });
}

function paint() {
  if (!latest) return;
  const style = getComputedStyle(document.body);
  const [text, positive, negative] = ["--text", "--positive", "--negative"].map((name) =>
    rgb(style.getPropertyValue(name)),
  );
  fill(at("seen"), bytes(latest.image), 0, (value) => [text, value]);
  latest.layers.forEach((layer, i) => {
    const values = new Int8Array(bytes(layer).buffer);
    let first = 0;
    for (const canvas of layers[i]) {
      fill(canvas, values, first, (value) => [value < 0 ? negative : positive, 2 * Math.abs(value)]);
      first += canvas.width * canvas.height;
    }
  });
}

function fill(canvas, values, first, colour) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const count = Math.min(canvas.width * canvas.height, values.length - first);
  for (let i = 0; i < count; i++) {
    const [[red, green, blue], alpha] = colour(values[first + i]);
    image.data.set([red, green, blue, alpha], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

function bytes(text) {
  return Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
}

function rgb(hex) {
  return [1, 3, 5].map((i) => parseInt(hex.trim().slice(i, i + 2), 16));
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
