// What the page shows of an answer: the verdict, the bars, the picture that the network sees, the layers.

const at = (id) => document.getElementById(id);
const rows = [...document.querySelectorAll(".bars li")];
const layers = [...document.querySelectorAll(".layer")].map(prepareLayer);
// Opacity of magnitudes 0 to 127: one large number must not make all others too pale to see.
const STRENGTH = Array.from({ length: 129 }, (_, magnitude) => Math.round(255 * Math.min(1, magnitude / 127) ** 0.6));
let shown = []; // the digits of the latest answer
let place = 0; // of the one whose bars and layers are shown

// digits: the answers for one picture; several: whether all of them were requested.
export function showAnswers(digits, several) {
  shown = digits;
  place = Math.min(place, digits.length - 1);
  const words = digits.some((digit) => digit.label.length > 2);
  const text = readings(digits).join(words ? " " : "");
  at("label").textContent = text;
  at("label").className = words || text.length > 10 ? "word" : text.length > 4 ? "long" : text.length > 2 ? "number" : "";
  at("probability").textContent = several ? `${digits.length} digit${digits.length > 1 ? "s" : ""}` : percent(digits[0].probability);
  chips(several ? digits : []);
  choose(place);
}

// Their labels; of one that the network is not sure of: a question.
export function readings(digits) {
  if (digits.length > 1) return digits.map((digit) => (digit.sure ? digit.label : "?"));
  return digits.map((digit) => (digit.sure ? digit.label : `${digit.label} or ${digit.second}?`));
}

export function choose(number) {
  place = number;
  const digit = shown[place];
  [...at("digits").children].forEach((chip, i) => chip.setAttribute("aria-pressed", i === place));
  if (digit.looks_like > 1) say(`This looks like ${digit.looks_like} digits, and one was read.`);
  else if (digit.none >= 0.5) say(`Probably none of these (${percent(digit.none)}).`);
  else if (!digit.sure) say(`The network is not sure: ${digit.label} or ${digit.second}?`);
  else say(digit.second ? `Or ${digit.second} (${percent(digit.second_probability)}).` : "");
  at("all").hidden = !(digit.looks_like > 1);
  const best = digit.probabilities.indexOf(Math.max(...digit.probabilities));
  rows.forEach((row, i) => {
    row.classList.toggle("first", i === best);
    row.querySelector(".bar span").style.transform = `scaleX(${digit.probabilities[i]})`;
    row.querySelector(".share").textContent = percent(digit.probabilities[i]);
  });
  paint();
}

// A button for each digit: what the network saw of it, its label and probability.
function chips(digits) {
  const holder = at("digits");
  holder.hidden = digits.length === 0;
  while (holder.children.length > digits.length) holder.lastElementChild.remove();
  digits.forEach((digit, i) => {
    const chip = holder.children[i] ?? holder.appendChild(newChip());
    const [picture, label, share] = chip.children;
    label.textContent = digit.sure ? digit.label : "?";
    share.textContent = percent(digit.probability);
    chip.classList.toggle("unsure", !digit.sure);
    ink(picture, digit.image);
  });
}

function newChip() {
  const chip = document.createElement("button");
  chip.type = "button";
  const picture = chip.appendChild(document.createElement("canvas"));
  [picture.width, picture.height] = [at("seen").width, at("seen").height];
  picture.setAttribute("aria-hidden", "true");
  chip.append(document.createElement("b"), document.createElement("span"));
  return chip;
}

export function showNothing(sentence, error = false, looksLike = 1) {
  shown = [];
  at("label").textContent = "";
  at("label").className = "";
  at("probability").textContent = "";
  say(sentence, error);
  at("all").hidden = !(looksLike > 1);
  chips([]);
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

export function say(sentence, error = false) {
  at("sentence").textContent = sentence;
  at("sentence").classList.toggle("error", error);
}

export function percent(share) {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return "<0.1 %";
  if (value >= 99.95) return ">99.9 %"; // 100 % would be certainty
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
  if (!shown.length) return;
  const [positive, negative] = ["--positive", "--negative"].map(colour);
  ink(at("seen"), shown[place].image);
  shown[place].layers.forEach((layer, i) => {
    const values = new Int8Array(bytes(layer).buffer);
    let first = 0;
    for (const canvas of layers[i]) {
      fill(canvas, values, first, (value) => [value < 0 ? negative : positive, STRENGTH[Math.abs(value)]]);
      first += canvas.width * canvas.height;
    }
  });
}

function ink(canvas, image) {
  const text = colour("--text");
  fill(canvas, bytes(image), 0, (value) => [text, value]);
}

function repaint() {
  paint();
  [...at("digits").children].forEach((chip, i) => ink(chip.firstElementChild, shown[i].image));
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

function colour(name) {
  const hex = getComputedStyle(document.body).getPropertyValue(name).trim();
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
