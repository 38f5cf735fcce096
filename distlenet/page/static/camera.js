// A picture from the camera: shown live in a dialog, taken by a button.

const at = (id) => document.getElementById(id);
const dialog = at("camera");
const video = at("live");
let stream = null;

// take(file) gets the picture; refuse(sentence) gets the reason if it cannot.
export function prepareCamera(take, refuse) {
  at("photograph").addEventListener("click", () => {
    if (navigator.mediaDevices?.getUserMedia) open(refuse);
    else if (matchMedia("(pointer: coarse)").matches) at("snapshot").click(); // the camera's own program, on a phone
    else refuse("The browser allows the camera only on localhost and over https: open the page there, or choose a picture.");
  });
  at("take").addEventListener("click", async () => {
    const picture = await frame();
    dialog.close();
    take(picture);
  });
  at("leave").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", stop); // Escape closes it, too
  video.addEventListener("playing", () => {
    at("take").disabled = false;
    at("take").focus();
  });
}

async function open(refuse) {
  at("take").disabled = true;
  dialog.showModal();
  try {
    const camera = { facingMode: "environment", width: { ideal: 1920 }, height: { ideal: 1080 } };
    const opened = await navigator.mediaDevices.getUserMedia({ video: camera });
    stop();
    stream = opened;
    if (dialog.open) video.srcObject = stream;
    else stop(); // closed while the browser asked
  } catch (error) {
    dialog.close();
    refuse(reason(error.name));
  }
}

function stop() {
  for (const track of stream?.getTracks() ?? []) track.stop(); // the camera's lamp goes out
  stream = video.srcObject = null;
}

function reason(name) {
  if (name === "NotAllowedError") return "The browser may not use the camera: allow it for this page next to the address.";
  if (name === "NotFoundError") return "No camera was found: connect one, or choose a picture.";
  if (name === "NotReadableError") return "The camera is used by another program: close that, or choose a picture.";
  return `The camera cannot be used (${name}): choose a picture.`;
}

async function frame() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  const content = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
  return new File([content], "camera.jpg", { type: content.type });
}
