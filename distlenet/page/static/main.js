// The page: what happens when something is drawn, undone, cleared, uploaded, dropped or pasted.

import { Asker } from "./asker.js";
import { prepareCamera } from "./camera.js";
import { Field } from "./field.js";
import { choose, percent, readings, say, showAnswers, showNothing, speak } from "./view.js";

const at = (id) => document.getElementById(id);
const field = new Field(at("field"), drawn);
const asker = new Asker(answered);
const LARGEST = Number(document.body.dataset.largest); // bytes of a picture
const INVITATION = at("sentence").textContent;
let uploaded = null; // {number, file} of the question about a picture

function drawn() {
  uploaded = null;
  refresh();
  if (!field.strokes.length) empty();
  else if (!field.justBegun) asker.ask(address("strokes"), "application/json", drawing);
}

function address(path) {
  return at("several").checked ? `${path}?several=1` : path;
}

// The body of a question is made when it is sent: the drawing may have grown since it was asked.
function drawing() {
  return JSON.stringify({ strokes: field.strokes.filter((stroke) => stroke.length), width: field.width });
}

function answered({ ok, data }, number) {
  if (!ok && field.drawing) return; // the first bit of a stroke is only a dot
  const digits = data.digits ?? [data];
  if (ok) showAnswers(digits, Boolean(data.digits));
  else showNothing(data.error, true, data.looks_like);
  if (number === asker.number && !field.drawing) speak(ok ? spoken(digits) : data.error);
  if (ok && uploaded?.number === number && field.picture) {
    field.picture.boxes = digits.map((digit) => digit.box);
    field.redraw();
  }
}

function spoken(digits) {
  if (digits.length === 1) return `${readings(digits)[0]}, ${percent(digits[0].probability)}`;
  return `${readings(digits).join(" ")}, ${digits.length} digits`;
}

function empty() {
  asker.forget();
  showNothing(INVITATION);
  speak("The drawing field is empty.");
}

function refresh() {
  at("undo").disabled = field.past.length === 0;
  at("clear").disabled = field.blank;
  at("invitation").hidden = !field.blank;
}

function undo() {
  asker.forget();
  field.undo();
  if (field.picture?.file) ask(field.picture.file);
  else drawn();
  refresh();
}

function clear() {
  field.clear();
  drawn();
}

async function upload(file) {
  if (file.size > LARGEST) {
    refuse(`The file is too large: ${megabytes(file.size)}, expected at most ${megabytes(LARGEST)}.`);
    return;
  }
  asker.forget();
  at("camera").close(); // something pasted while it was open
  const bitmap = await createImageBitmap(file).catch(() => null); // of a format that only the server reads
  field.show({ bitmap, file });
  refresh();
  ask(file);
}

function refuse(sentence) {
  say(sentence, true); // the drawing and its answer stay
  speak(sentence);
}

function ask(file) {
  showNothing("Reading the picture …");
  const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
  uploaded = { file, number: asker.ask(address("picture"), type, () => file) };
}

function megabytes(size) {
  return `${(size / 2 ** 20).toFixed(1)} MiB`;
}

function again() {
  if (field.picture?.file) {
    asker.forget();
    field.picture.boxes = [];
    field.redraw();
    ask(field.picture.file);
  } else if (field.strokes.length) drawn();
}

at("several").addEventListener("change", again);
at("all").addEventListener("click", () => {
  at("several").checked = true;
  again();
});
at("digits").addEventListener("click", (event) => {
  const place = [...at("digits").children].indexOf(event.target.closest("button"));
  if (place < 0) return;
  choose(place);
  field.chosen = place;
  if (field.picture) field.redraw();
});

at("undo").addEventListener("click", undo);
at("clear").addEventListener("click", clear);
at("width").addEventListener("input", (event) => {
  field.setWidth(event.target.value / 100);
  if (field.strokes.length) drawn();
});
field.setWidth(at("width").value / 100); // a browser may have kept it over a reload

for (const id of ["file", "snapshot"]) {
  at(id).addEventListener("change", (event) => {
    const [file] = event.target.files;
    event.target.value = ""; // the same file again is a change, too
    if (file) upload(file);
  });
}
prepareCamera(upload, refuse);

document.addEventListener("keydown", (event) => {
  if (at("camera").open) return; // its own keys
  if (event.key === "Escape") clear();
  else if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z") undo();
  else return;
  event.preventDefault();
});

document.addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (file) upload(file);
  else refuse("The clipboard holds no picture: copy a picture, not its file name or address.");
});

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.toggle("over", event.dataTransfer.types.includes("Files"));
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file) upload(file);
  else refuse("The page takes only files: save the picture first, then drop its file.");
});
